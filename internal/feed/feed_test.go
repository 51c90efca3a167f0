package feed_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/feed"
	"github.com/twillgo/twill/internal/sched"
)

type source struct {
	mu    sched.Mutex
	feeds feed.Feeds[int]
}

func (s *source) push(ns ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range ns {
		s.feeds.Push(n)
	}
}

func (s *source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeds.Close()
}

func (s *source) readers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feeds.Len()
}

func read(f *feed.Feed[int]) (got, lost []int) {
	for n, dropped := range f.All() {
		got, lost = append(got, n), append(lost, dropped)
	}
	return got, lost
}

func TestReadersGetWhatIsPushedAfterThemUntilAClose(t *testing.T) {
	var s source
	s.push(1)
	all := s.feeds.Subscribe(t.Context(), &s.mu, 0)
	s.push(2)
	last := s.feeds.Subscribe(t.Context(), &s.mu, 0)
	s.push(3)
	s.close()
	got, lost := read(all)
	require.Equal(t, []int{2, 3}, got)
	require.Equal(t, []int{0, 0}, lost)
	got, _ = read(last)
	require.Equal(t, []int{3}, got)
	got, _ = read(s.feeds.Subscribe(t.Context(), &s.mu, 0))
	require.Empty(t, got, "after the close")
}

func TestASlowReaderLosesTheOldestAndLearnsHowMany(t *testing.T) {
	var s source
	f := s.feeds.Subscribe(t.Context(), &s.mu, 2)
	s.push(1, 2, 3, 4, 5)
	s.close()
	got, lost := read(f)
	require.Equal(t, []int{4, 5}, got)
	require.Equal(t, []int{3, 0}, lost)
}

func TestAReaderThatLeavesIsRemoved(t *testing.T) {
	var s source
	f := s.feeds.Subscribe(t.Context(), &s.mu, 0)
	s.push(1, 2)
	for range f.All() {
		break
	}
	require.Zero(t, s.readers())

	ctx, cancel := context.WithCancel(t.Context())
	f = s.feeds.Subscribe(ctx, &s.mu, 0)
	s.push(1)
	cancel()
	got, _ := read(f)
	require.Equal(t, []int{1}, got, "what was pushed before the end of ctx is not lost")
	require.Zero(t, s.readers())

	f = s.feeds.Subscribe(ctx, &s.mu, 0)
	s.push(2)
	got, _ = read(f)
	require.Empty(t, got, "after the end")
	require.Zero(t, s.readers())
}
