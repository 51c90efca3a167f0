//go:build unix

package store

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// useDatasync makes SQLite sync with fdatasync, as it does in the builds of
// Linux distributions: what it leaves out is the time of the last change, which
// needs a transaction of the file system's own. It holds for the whole process,
// and has no effect on macOS.
func useDatasync(tls *libc.TLS) { sqlite3.Xmodernc_fdatasync(tls, 1) }
