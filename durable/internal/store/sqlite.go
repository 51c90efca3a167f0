package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

func init() { sqlite3.PatchIssue199() } // as the driver does

// conn is the connection. It calls SQLite itself: a driver of database/sql
// allocates for each number that it reads, and for the names of the columns in
// each query. One goroutine at a time uses the connection, so SQLite needs no
// mutex of its own.
type conn struct {
	tls   *libc.TLS
	db    uintptr
	out   uintptr // where SQLite returns pointers
	stmts [stmtCount]uintptr

	scratch     uintptr // the bytes of parameters, until the next statement
	scratchSize int
}

// openConn opens the file at path, which must exist.
func openConn(path string, o Options) (*conn, error) {
	c := &conn{tls: libc.NewTLS()}
	useDatasync(c.tls)
	if err := c.open(path, o); err != nil {
		c.close()
		return nil, openError(path, err)
	}
	return c, nil
}

func (c *conn) open(path string, o Options) error {
	if c.out = libc.Xmalloc(c.tls, 16); c.out == 0 {
		return &sqliteError{codeNoMem, "out of memory"}
	}
	*pointer(c.out) = 0
	name, err := libc.CString(path)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, name)
	var vfs uintptr
	if o.VFS != "" {
		if vfs, err = libc.CString(o.VFS); err != nil {
			return err
		}
		defer libc.Xfree(c.tls, vfs)
	}
	// The path is no address: SQLITE_OPEN_URI is not set.
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, c.out, sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_NOMUTEX, vfs)
	c.db = *pointer(c.out) // there is one after most errors as well
	if rc == sqlite3.SQLITE_OK {
		rc = sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	}
	if rc == sqlite3.SQLITE_OK {
		rc = sqlite3.Xsqlite3_busy_timeout(c.tls, c.db, int32(min(o.Wait, time.Hour).Milliseconds()))
	}
	return c.failed(rc)
}

func (c *conn) close() error {
	for i, st := range c.stmts {
		if st != 0 {
			sqlite3.Xsqlite3_finalize(c.tls, st)
			c.stmts[i] = 0
		}
	}
	var err error
	if c.db != 0 {
		err = c.failed(sqlite3.Xsqlite3_close_v2(c.tls, c.db))
		c.db = 0
	}
	for _, p := range []uintptr{c.out, c.scratch} {
		if p != 0 {
			libc.Xfree(c.tls, p)
		}
	}
	c.out, c.scratch = 0, 0
	c.tls.Close()
	return err
}

func (c *conn) prepare(query string, flags uint32) (uintptr, error) {
	text, err := libc.CString(query)
	if err != nil {
		return 0, err
	}
	defer libc.Xfree(c.tls, text)
	rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, text, int32(len(query)+1), flags, c.out, 0)
	if err := c.failed(rc); err != nil {
		return 0, err
	}
	return *pointer(c.out), nil
}

func (c *conn) prepareAll() error {
	for i, q := range queries {
		st, err := c.prepare(q, sqlite3.SQLITE_PREPARE_PERSISTENT)
		if err != nil {
			return err
		}
		c.stmts[i] = st
	}
	return nil
}

// exec runs a statement, and drops the rows that it may return.
func (c *conn) exec(query string) error {
	_, err := c.query(query)
	return err
}

// query returns all rows of a query.
func (c *conn) query(query string, args ...driver.Value) (rows [][]driver.Value, err error) {
	values := make([]value, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case nil:
		case int64:
			values[i] = num(a)
		case string:
			values[i] = text(a)
		case []byte:
			values[i] = data(a)
		default:
			return nil, fmt.Errorf("durable: parameter %d of a query is a %T", i+1, a)
		}
	}
	err = c.eachOf(query, func(r row) bool {
		columns := make([]driver.Value, sqlite3.Xsqlite3_column_count(c.tls, r.st))
		for i := range columns {
			columns[i] = r.value(i)
		}
		rows = append(rows, columns)
		return true
	}, values...)
	return rows, err
}

// eachOf calls fn with the rows of a query, until it returns false.
func (c *conn) eachOf(query string, fn func(row) bool, args ...value) error {
	st, err := c.prepare(query, 0)
	if err != nil {
		return err
	}
	defer sqlite3.Xsqlite3_finalize(c.tls, st)
	return c.step(st, args, fn)
}

// change runs a prepared statement and returns how many rows it has changed.
func (c *conn) change(which stmt, args ...value) (int64, error) {
	err := c.step(c.stmts[which], args, nil)
	if err != nil {
		return 0, err
	}
	return int64(sqlite3.Xsqlite3_changes(c.tls, c.db)), nil
}

// run runs a prepared statement.
func (c *conn) run(which stmt, args ...value) error {
	return c.step(c.stmts[which], args, nil)
}

// each calls fn with the rows of a prepared query, until it returns false.
func (c *conn) each(which stmt, fn func(row) bool, args ...value) error {
	return c.step(c.stmts[which], args, fn)
}

// first runs a prepared query up to its first row, if there is one. The row's
// done must be called then.
func (c *conn) first(which stmt, args ...value) (r row, found bool, err error) {
	r = row{c.tls, c.stmts[which]}
	if err = c.bind(r.st, args); err == nil {
		switch rc := sqlite3.Xsqlite3_step(c.tls, r.st); rc {
		case sqlite3.SQLITE_ROW:
			return r, true, nil
		case sqlite3.SQLITE_DONE:
		default:
			err = c.failed(rc)
		}
	}
	r.done()
	return r, false, err
}

// step runs a statement to its end, or until fn returns false.
func (c *conn) step(st uintptr, args []value, fn func(row) bool) error {
	defer sqlite3.Xsqlite3_reset(c.tls, st) // returns the error of the last step again
	if err := c.bind(st, args); err != nil {
		return err
	}
	for {
		switch rc := sqlite3.Xsqlite3_step(c.tls, st); rc {
		case sqlite3.SQLITE_DONE:
			return nil
		case sqlite3.SQLITE_ROW:
			if fn != nil && !fn(row{c.tls, st}) {
				return nil
			}
		default:
			return c.failed(rc)
		}
	}
}

// value is what a parameter of a statement is set to. The zero value is NULL.
type value struct {
	kind byte // 0, or that of the others
	n    int64
	s    string
}

func num(n int64) value   { return value{kind: 'n', n: n} }
func text(s string) value { return value{kind: 't', s: s} }
func data(b []byte) value {
	if b == nil {
		return value{}
	}
	return value{kind: 'b', s: unsafe.String(unsafe.SliceData(b), len(b))}
}

// blob is s as bytes, and NULL if it is empty.
func blob(s string) value {
	if s == "" {
		return value{}
	}
	return value{kind: 'b', s: s}
}

// bind sets the parameters of a statement. Bytes are copied to scratch, where
// they stay until the statement has run; those that other statements have there
// are not read again, as all parameters are set before each run.
func (c *conn) bind(st uintptr, args []value) error {
	size := 1 // an empty blob needs an address as well
	for i := range args {
		size += len(args[i].s)
	}
	if size > c.scratchSize || c.scratchSize > maxScratch {
		if c.scratch != 0 {
			libc.Xfree(c.tls, c.scratch)
		}
		size := max(size, 4096)
		c.scratchSize = size
		if c.scratch = libc.Xmalloc(c.tls, libc.Tsize_t(size)); c.scratch == 0 {
			c.scratchSize = 0
			return &sqliteError{codeNoMem, "out of memory"}
		}
	}
	next := c.scratch
	for i := range args {
		a, rc, index := &args[i], int32(0), int32(i+1)
		switch a.kind {
		case 'n':
			rc = sqlite3.Xsqlite3_bind_int64(c.tls, st, index, a.n)
		case 't', 'b':
			copy(unsafe.Slice((*byte)(at(next)), len(a.s)), a.s)
			if a.kind == 't' {
				rc = sqlite3.Xsqlite3_bind_text(c.tls, st, index, next, int32(len(a.s)), 0)
			} else {
				rc = sqlite3.Xsqlite3_bind_blob(c.tls, st, index, next, int32(len(a.s)), 0)
			}
			next += uintptr(len(a.s))
		default:
			rc = sqlite3.Xsqlite3_bind_null(c.tls, st, index)
		}
		if err := c.failed(rc); err != nil {
			return err
		}
	}
	return nil
}

// maxScratch is how many bytes scratch keeps.
const maxScratch = 1 << 20

// row is a row of a result. It is valid until fn returns.
type row struct {
	tls *libc.TLS
	st  uintptr
}

// done ends the query of a row that first has returned.
func (r row) done() { sqlite3.Xsqlite3_reset(r.tls, r.st) }

// int is a column as a number.
func (r row) int(i int) (n int64, ok bool) {
	if sqlite3.Xsqlite3_column_type(r.tls, r.st, int32(i)) != sqlite3.SQLITE_INTEGER {
		return 0, false
	}
	return sqlite3.Xsqlite3_column_int64(r.tls, r.st, int32(i)), true
}

// bytes is a column as bytes, whether it is text or a blob, and nil if it is
// NULL.
func (r row) bytes(i int) (b []byte, ok bool) {
	var p uintptr
	switch sqlite3.Xsqlite3_column_type(r.tls, r.st, int32(i)) {
	case sqlite3.SQLITE_NULL:
		return nil, true
	case sqlite3.SQLITE_TEXT:
		p = sqlite3.Xsqlite3_column_text(r.tls, r.st, int32(i))
	case sqlite3.SQLITE_BLOB:
		p = sqlite3.Xsqlite3_column_blob(r.tls, r.st, int32(i))
	default:
		return nil, false
	}
	n := sqlite3.Xsqlite3_column_bytes(r.tls, r.st, int32(i))
	b = make([]byte, n)
	if p != 0 {
		copy(b, unsafe.Slice((*byte)(at(p)), n))
	}
	return b, true
}

// text is bytes as a string.
func (r row) text(i int) (string, bool) {
	b, ok := r.bytes(i)
	return unsafe.String(unsafe.SliceData(b), len(b)), ok // nothing changes b
}

func (r row) value(i int) driver.Value {
	switch sqlite3.Xsqlite3_column_type(r.tls, r.st, int32(i)) {
	case sqlite3.SQLITE_INTEGER:
		return sqlite3.Xsqlite3_column_int64(r.tls, r.st, int32(i))
	case sqlite3.SQLITE_FLOAT:
		return sqlite3.Xsqlite3_column_double(r.tls, r.st, int32(i))
	case sqlite3.SQLITE_TEXT:
		s, _ := r.text(i)
		return s
	case sqlite3.SQLITE_BLOB:
		b, _ := r.bytes(i)
		return b
	}
	return nil
}

// toInt is a value of query as a number.
func toInt(v driver.Value) (int64, bool) {
	n, ok := v.(int64)
	return n, ok
}

// toText is a value of query as bytes, whatever SQLite made of them.
func toText(v driver.Value) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

// sqliteError is an error of SQLite.
type sqliteError struct {
	code int // extended
	text string
}

func (e *sqliteError) Error() string { return fmt.Sprintf("%s (%d)", e.text, e.code) }

// failed returns the error for a result code, nil if that is none.
func (c *conn) failed(rc int32) error {
	if rc == sqlite3.SQLITE_OK {
		return nil
	}
	text := libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 {
		if more := libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db)); more != text && more != "not an error" {
			text += ": " + more
		}
	}
	return &sqliteError{int(rc), text}
}

// backup is a copy of a file into another one that is being made. It is used by
// the goroutine that uses the file's connection.
type backup struct {
	to *conn
	p  uintptr
}

// newBackup begins to copy the file of c to the empty file at path.
func (c *conn) newBackup(path string) (*backup, error) {
	to, err := openConn(path, Options{})
	if err != nil {
		return nil, err
	}
	b := &backup{to: to}
	if err = to.exec("PRAGMA synchronous = FULL"); err == nil {
		var name uintptr
		if name, err = libc.CString("main"); err == nil {
			if b.p = sqlite3.Xsqlite3_backup_init(to.tls, to.db, name, c.db, name); b.p == 0 {
				err = to.failed(sqlite3.Xsqlite3_errcode(to.tls, to.db))
			}
			libc.Xfree(to.tls, name)
		}
	}
	if err != nil {
		return nil, errors.Join(err, b.finish())
	}
	return b, nil
}

// step copies up to n pages, and returns how many there are and are left.
func (b *backup) step(n int) (left, all int, err error) {
	rc := sqlite3.Xsqlite3_backup_step(b.to.tls, b.p, int32(n))
	left = int(sqlite3.Xsqlite3_backup_remaining(b.to.tls, b.p))
	all = int(sqlite3.Xsqlite3_backup_pagecount(b.to.tls, b.p))
	switch rc {
	case sqlite3.SQLITE_OK:
		return max(left, 1), all, nil
	case sqlite3.SQLITE_DONE:
		return left, all, nil
	}
	return left, all, b.to.failed(rc)
}

// finish ends the copy and closes its file. It may be called again.
func (b *backup) finish() (err error) {
	if b.p != 0 {
		err = b.to.failed(sqlite3.Xsqlite3_backup_finish(b.to.tls, b.p))
		b.p = 0
	}
	if b.to != nil {
		err = errors.Join(err, b.to.close())
		b.to = nil
	}
	return err
}

// The primary result codes of SQLite.
const (
	codeBusy     = sqlite3.SQLITE_BUSY
	codeLocked   = sqlite3.SQLITE_LOCKED
	codeNoMem    = sqlite3.SQLITE_NOMEM
	codeReadOnly = sqlite3.SQLITE_READONLY
	codeIOErr    = sqlite3.SQLITE_IOERR
	codeCorrupt  = sqlite3.SQLITE_CORRUPT
	codeFull     = sqlite3.SQLITE_FULL
	codeCantOpen = sqlite3.SQLITE_CANTOPEN
	codeProtocol = sqlite3.SQLITE_PROTOCOL
	codeMisuse   = sqlite3.SQLITE_MISUSE
	codeNotADB   = sqlite3.SQLITE_NOTADB
)

// codeNoShm is the extended result code for a -shm file that could not grow.
const codeNoShm = sqlite3.SQLITE_IOERR_SHMSIZE

// code is the primary result code in err, 0 if there is none.
func code(err error) int { return extended(err) & 0xff }

// extended is the extended result code in err, 0 if there is none.
func extended(err error) int {
	if e, ok := errors.AsType[*sqliteError](err); ok {
		return e.code
	}
	return 0
}

// at is an address of C's memory as a pointer.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// pointer is the pointer at an address of C's memory.
func pointer(p uintptr) *uintptr { return (*uintptr)(at(p)) }
