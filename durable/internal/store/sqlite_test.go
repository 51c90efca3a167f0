package store

import (
	"database/sql/driver"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/durable/internal/faultfs"
)

func newConn(t *testing.T) *conn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a?b#c%20d e.db")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	c, err := openConn(path, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.close()) })
	return c
}

// What a statement is given comes back, whatever the sizes are, and from a path
// that would be an address with parameters.
func TestValues(t *testing.T) {
	c := newConn(t)
	require.NoError(t, c.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, n, s, b)"))
	big := strings.Repeat("x", 2*maxScratch)
	cases := [][]driver.Value{
		{int64(math.MinInt64), "", []byte{}},
		{int64(math.MaxInt64), "text\x00with a zero", []byte{0, 1, 255}},
		{nil, nil, nil},
		{int64(0), big, []byte(big)},
		{int64(1), "after the big one", []byte("small")},
	}
	for _, row := range cases {
		_, err := c.query("INSERT INTO t (n, s, b) VALUES (?, ?, ?)", row...)
		require.NoError(t, err)
	}
	rows, err := c.query("SELECT n, s, b FROM t ORDER BY id")
	require.NoError(t, err)
	require.Equal(t, cases, rows)
	rows, err = c.query("SELECT 0.5, n FROM t WHERE n = ?", int64(1))
	require.NoError(t, err)
	require.Equal(t, [][]driver.Value{{0.5, int64(1)}}, rows)
	require.LessOrEqual(t, c.scratchSize, maxScratch, "a big value is not kept")
	_, err = c.query("SELECT ?", 1.5)
	require.Error(t, err)
}

// A prepared statement runs again, even if it has failed or was left before its
// end.
func TestStatementsRunAgain(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "jobs.db"), Options{})
	require.NoError(t, err)
	defer s.Close()
	s.Start(nil, nil)
	require.NoError(t, s.Run(func(tx *Tx) error {
		for id := range int64(3) {
			if err := tx.Insert(Job{ID: id + 1, Key: strings.Repeat("k", int(id))}, []byte{byte(id)}); err != nil {
				return err
			}
		}
		return nil
	}))
	err = s.Run(func(tx *Tx) error { return tx.Insert(Job{ID: 1}, nil) })
	require.ErrorContains(t, err, "UNIQUE", "there is one")
	require.NoError(t, s.Broken())
	for range 3 {
		require.NoError(t, s.Run(func(tx *Tx) error {
			seen := 0
			err := tx.Jobs(0, 10, func(j Job, err error) bool {
				seen++
				require.NoError(t, err)
				require.Equal(t, int64(3), j.ID, "the latest first")
				require.Equal(t, "kk", j.Key)
				return false
			})
			require.Equal(t, 1, seen)
			for id := range int64(3) {
				arg, err := tx.Arg(id + 1)
				require.NoError(t, err)
				require.Equal(t, []byte{byte(id)}, arg)
			}
			return err
		}))
	}
}

// An error has the code by which the store decides.
func TestErrorCodes(t *testing.T) {
	c := newConn(t)
	err := c.exec("SELECT * FROM missing")
	require.ErrorContains(t, err, "no such table: missing")
	require.Equal(t, 1, code(err))
	require.Zero(t, code(os.ErrNotExist))
	_, err = openConn(filepath.Join(t.TempDir(), "missing", "file.db"), Options{})
	require.Equal(t, codeCantOpen, code(err))
	require.ErrorContains(t, err, "unable to open database file")
	_, err = openConn(filepath.Join(t.TempDir(), "a\x00b"), Options{})
	require.Error(t, err)
}

// While the disk is full, what can be refused is, wherever it is in a batch or
// behind it, and the rest waits and runs in the order of submission.
func TestFullDiskKeepsTheOrder(t *testing.T) {
	disk := faultfs.New()
	s, err := Open(filepath.Join(t.TempDir(), "jobs.db"), Options{VFS: disk.Name})
	require.NoError(t, err)
	defer s.Close()
	disk.Decide(func(call faultfs.Call, _ string, _ int) faultfs.Fault {
		if call == faultfs.Write {
			return faultfs.Full
		}
		return faultfs.None
	})
	errBad := errors.New("bad")
	var mu sync.Mutex
	var order []string // of what was not refused
	outcomes := map[string]chan error{}
	report := func(name string) func(error) {
		outcome := make(chan error, 1)
		outcomes[name] = outcome
		return func(err error) {
			if !errors.Is(err, ErrDiskFull) {
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
			}
			outcome <- err
		}
	}
	submit := func(name string, must bool, fails error) {
		s.Submit(Op{Must: must, Done: report(name), Do: func(tx *Tx) error {
			if fails != nil {
				return fails
			}
			return tx.Set(name, []byte(name))
		}})
	}
	outcome := func(name string) error {
		select {
		case err := <-outcomes[name]:
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("no outcome of " + name)
			return nil
		}
	}
	submit("first", true, nil)
	submit("fails", true, errBad)
	submit("refused", false, nil)
	s.Start(nil, nil)
	require.ErrorIs(t, outcome("refused"), ErrDiskFull)

	submit("later", true, nil)
	submit("refused later", false, nil)
	require.ErrorIs(t, outcome("refused later"), ErrDiskFull)
	s.Submit(Op{alone: func() error { return nil }, Done: report("alone")})
	submit("behind", true, nil)
	submit("refused behind", false, nil)
	require.ErrorIs(t, outcome("refused behind"), ErrDiskFull)

	disk.Decide(nil)
	require.NoError(t, outcome("first"))
	require.ErrorIs(t, outcome("fails"), errBad)
	require.NoError(t, outcome("later"))
	require.NoError(t, outcome("alone"))
	require.NoError(t, outcome("behind"))
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{"first", "fails", "later", "alone", "behind"}, order)
}

// A store that is closed while the disk is full ends, and so does what waits
// for space and what is behind an operation that runs alone.
func TestFullDiskClose(t *testing.T) {
	disk := faultfs.New()
	s, err := Open(filepath.Join(t.TempDir(), "jobs.db"), Options{VFS: disk.Name})
	require.NoError(t, err)
	full := make(chan struct{}, 1)
	disk.Decide(func(call faultfs.Call, _ string, _ int) faultfs.Fault {
		if call == faultfs.Write {
			select {
			case full <- struct{}{}:
			default:
			}
			return faultfs.Full
		}
		return faultfs.None
	})
	outcomes := make(chan error, 3)
	write := func(tx *Tx) error { return tx.Set("name", []byte("value")) }
	s.Submit(Op{Must: true, Do: write, Done: func(err error) { outcomes <- err }})
	s.Submit(Op{alone: func() error { return nil }, Done: func(err error) { outcomes <- err }})
	s.Submit(Op{Must: true, Do: write, Done: func(err error) { outcomes <- err }})
	s.Start(nil, nil)
	<-full
	_ = s.Close()
	require.ErrorIs(t, <-outcomes, ErrDiskFull)
	require.NoError(t, <-outcomes, "it needs no space")
	require.ErrorIs(t, <-outcomes, ErrDiskFull)
}
