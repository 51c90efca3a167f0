//go:build suites

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPI(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte(`package p

import "context"

const (
	A Kind = iota
	B
	c
)

var ErrA, errB = error(nil), error(nil)

type Kind uint8

func (k Kind) String() string { return "" }

type Options[T any] struct {
	Width, Size int
	OnEnd       func(v T, err error)
	hidden      int
	*Base
	base
}

type Base struct{}

type base struct{}

func (b *base) Exported() {}

type Sealed interface {
	Base
	Wait(ctx context.Context) (err error)
	hidden()
}

type Same = Kind

func New[K comparable, V any](ctx context.Context, fn func(k K) (v V, err error)) *Options[V] { return nil }

func (o *Options[T]) Run(a, b int) (n int) { return 0 }

func (o *Options[T]) run() {}

func hidden() {}
`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a_test.go"), []byte("package p\n\nfunc Test() {}\n"), 0o600))
	lines, err := api(dir)
	require.NoError(t, err)
	require.Equal(t, []string{
		"const A Kind",
		"const B Kind",
		"func New[K comparable, V any](context.Context, func(K) (V, error)) *Options[V]",
		"method (*Options[T]) Run(int, int) int",
		"method (Kind) String() string",
		"type Base struct",
		"type Kind uint8",
		"type Options struct, OnEnd func(T, error)",
		"type Options struct, Size int",
		"type Options struct, Width int",
		"type Options struct, embedded *Base",
		"type Options[T any] struct",
		"type Same = Kind",
		"type Sealed interface { Base; Wait(context.Context) error; unexported methods }",
		"var ErrA",
	}, lines)
}
