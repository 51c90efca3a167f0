package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatWaitsGoesOnAfterARestartInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		for i := range 5 {
			accept(t, o, strconv.Itoa(i), 0)
		}
		accept(t, o, "urgent", -10)
		moved := accept(t, o, "moved", 5)
		require.NoError(t, o.Reprioritize(moved, 0))
		time.Sleep(1500 * time.Millisecond) // "0" is sent, "urgent" half way
		require.Equal(t, 5, end(t, o))
		require.Equal(t, []string{"0", "urgent"}, carrier.texts(), "what is underway is finished")
		require.Equal(t, []string{"1", "2", "3", "4", "moved"}, inFile(t, path))

		o = begin(t, path, carrier)
		require.Equal(t, 5, o.restored)
		accept(t, o, "new", 0)
		accept(t, o, "first", -1)
		time.Sleep(10 * time.Second)
		require.Zero(t, end(t, o))
		require.Equal(t, []string{"0", "urgent", "1", "first", "2", "3", "4", "moved", "new"}, carrier.texts())
		require.Empty(t, inFile(t, path))
	})
}

func TestAnAcceptedMessageIsInTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := stateFile(t)
		o := begin(t, path, &slow{})
		a := accept(t, o, "a", 0)
		accept(t, o, "b", 0)
		require.Equal(t, []string{"a", "b"}, inFile(t, path))
		time.Sleep(time.Second + 2*lazily)
		require.Equal(t, []string{"b"}, inFile(t, path), "what is sent leaves it soon")
		row, ok := o.Message(a)
		require.True(t, ok)
		require.Equal(t, "FINISHED", row.State)
		end(t, o)
	})
}

func TestWhatCannotBeSavedIsNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		obstacle := path + ".tmp"
		require.NoError(t, os.MkdirAll(filepath.Join(obstacle, "x"), 0o700))
		_, err := o.Accept(Draft{To: "+12125550123", Text: "lost?"})
		require.ErrorIs(t, err, ErrNotSaved)
		require.Contains(t, o.Snapshot().Trouble, path)
		require.NoError(t, os.RemoveAll(obstacle))
		accept(t, o, "saved", 0)
		require.Empty(t, o.Snapshot().Trouble)
		time.Sleep(5 * time.Second)
		end(t, o)
		require.Equal(t, []string{"saved"}, carrier.texts())
	})
}

func TestStopNowLeavesWhatWasUnderwayToTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		accept(t, o, "underway", 0)
		accept(t, o, "waiting", 0)
		time.Sleep(500 * time.Millisecond)
		o.Stop()
		_, err := o.StopNow().Await(t.Context())
		require.NoError(t, err)
		left, err := o.Close()
		require.NoError(t, err)
		require.Equal(t, 2, left)
		require.Empty(t, carrier.texts())
		require.Equal(t, []string{"underway", "waiting"}, inFile(t, path))
	})
}

func TestAStoppingOutboxTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := begin(t, stateFile(t), &slow{})
		id := accept(t, o, "underway", 0)
		waiting := accept(t, o, "waiting", 0)
		drained := o.Stop()
		_, err := o.Accept(Draft{To: "+12125550123", Text: "late"})
		require.ErrorIs(t, err, ErrStopping)
		require.ErrorIs(t, o.Reprioritize(waiting, 1), ErrStopping)
		require.ErrorIs(t, o.Resume(), ErrStopping)
		require.ErrorIs(t, o.Pause(), ErrStopping)
		require.ErrorIs(t, o.SetWidth(9), ErrStopping)
		require.Equal(t, "STOPPING", o.Snapshot().State)
		require.NoError(t, o.Cancel(waiting))
		_, err = drained.Await(t.Context())
		require.NoError(t, err)
		left, err := o.Close()
		require.NoError(t, err)
		require.Zero(t, left)
		row, _ := o.Message(id)
		require.Equal(t, "FINISHED", row.State)
	})
}

func TestAFullOutboxRefuses(t *testing.T) {
	o := begin(t, stateFile(t), &slow{})
	o.Pause()
	for i := range maxUnsent {
		o.ledger.enter(Draft{To: "+12125550123", Text: strconv.Itoa(i)}, time.Now())
	}
	_, err := o.Accept(Draft{To: "+12125550123", Text: "one more"})
	require.ErrorIs(t, err, ErrFull)
	require.False(t, errors.Is(err, ErrNotSaved))
	end(t, o)
}
