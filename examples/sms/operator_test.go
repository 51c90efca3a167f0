package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheOperatorSteersThePipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		carrier := &slow{}
		o := begin(t, stateFile(t), carrier)
		require.NoError(t, o.Pause())
		for _, text := range []string{"a", "b", "c", "d"} {
			accept(t, o, text, 0)
		}
		time.Sleep(time.Minute)
		s := o.Snapshot()
		require.Equal(t, "PAUSED", s.State)
		require.Equal(t, 4, s.Waiting)
		require.Empty(t, carrier.texts())

		require.NoError(t, o.SetWidth(3))
		require.NoError(t, o.Resume())
		synctest.Wait()
		s = o.Snapshot()
		require.Equal(t, "RUNNING", s.State)
		require.Equal(t, 3, s.Width)
		require.Equal(t, []int{3, 1}, []int{s.InFlight, s.Waiting})
		require.Equal(t, "a", s.Underway[0].Text)
		require.Equal(t, "d", s.Pending[0].Text)

		for _, n := range []int{-1, maxWidth + 1} {
			require.ErrorAs(t, o.SetWidth(n), new(Invalid))
		}
		require.Equal(t, 3, o.Snapshot().Width)
		time.Sleep(5 * time.Second)
		require.InDelta(t, 0.4, o.Snapshot().PerSecond, 0.001)
		time.Sleep(time.Minute)
		require.Zero(t, o.Snapshot().PerSecond)
		end(t, o)
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		underway := accept(t, o, "underway", 0)
		waiting := accept(t, o, "waiting", 0)
		accept(t, o, "stays", 0)
		time.Sleep(500 * time.Millisecond)
		require.NoError(t, o.Cancel(waiting))
		require.NoError(t, o.Cancel(underway))
		require.Equal(t, []string{"stays"}, inFile(t, path), "at once: a crash does not bring them back")
		for _, id := range []string{underway, waiting} {
			row, _ := o.Message(id)
			require.Equal(t, "CANCELED", row.State)
			require.ErrorIs(t, o.Cancel(id), ErrOver)
		}
		require.ErrorIs(t, o.Cancel("nobody"), ErrUnknown)
		require.ErrorIs(t, o.Reprioritize(waiting, 1), ErrOver)
		time.Sleep(5 * time.Second)
		require.Zero(t, end(t, o))
		require.Equal(t, []string{"stays"}, carrier.texts())
		require.Equal(t, 2, o.Snapshot().Canceled)
	})
}

func TestReprioritize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		first := accept(t, o, "first", 0)
		a, b := accept(t, o, "a", 0), accept(t, o, "b", 0)
		require.NoError(t, o.Reprioritize(b, -1))
		require.ErrorIs(t, o.Reprioritize(first, -1), ErrOver, "it is underway")
		require.ErrorAs(t, o.Reprioritize(a, maxPriority+1), new(Invalid))
		require.Equal(t, "b", o.Snapshot().Pending[0].Text)
		require.Equal(t, -1, o.Snapshot().Pending[0].Priority)
		end(t, o)

		o = begin(t, path, carrier) // and after a restart
		synctest.Wait()
		require.Equal(t, "b", o.Snapshot().Underway[0].Text)
		require.NoError(t, o.Reprioritize(a, -5))
		time.Sleep(5 * time.Second)
		end(t, o)
		require.Equal(t, []string{"first", "b", "a"}, carrier.texts())
	})
}

func TestAMessageThatFailedWaitsForSomebody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		m, err := o.Accept(Draft{To: "+12125550113", Text: "refused"})
		require.NoError(t, err)
		other, err := o.Accept(Draft{To: "+12125550113", Text: "refused too"})
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		require.Equal(t, 2, o.Snapshot().Failures)
		require.Zero(t, end(t, o), "it is not sent again by itself")

		o = begin(t, path, carrier)
		require.Zero(t, o.restored)
		row, _ := o.Message(m.ID)
		require.Equal(t, "FAILED", row.State)
		require.Contains(t, row.Trouble, "400 Bad Request")
		require.NoError(t, o.Cancel(other.ID), "dismissed")
		accept(t, o, "meanwhile", 0)
		carrier.mu.Lock()
		carrier.healed = true
		carrier.mu.Unlock()
		require.NoError(t, o.SendAgain(m.ID))
		require.ErrorIs(t, o.SendAgain(m.ID), ErrOver)
		require.Equal(t, []string{"meanwhile", "refused"}, inFile(t, path))
		time.Sleep(5 * time.Second)
		require.Zero(t, end(t, o))
		require.Equal(t, []string{"meanwhile", "refused"}, carrier.texts())
		require.Empty(t, inFile(t, path))
	})
}

func TestHistoryIsBounded(t *testing.T) {
	l := newLedger()
	for range maxHistory + 10 {
		l.close(l.enter(Draft{}, time.Now()), 0, time.Now())
	}
	require.Len(t, l.entries, maxHistory)
	require.Len(t, l.history, maxHistory)
	require.Zero(t, l.unsent())
	require.Empty(t, l.saved())
}
