package store

import (
	"database/sql/driver"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
