// Package faultfs is a file system for SQLite that fails on request: it passes
// every call to the default one, counts it, and can return an error instead, or
// do only a part. It is for tests.
package faultfs

import (
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Call is a kind of call.
type Call int

// The calls that can fail.
const (
	Open Call = iota
	Read
	Write
	Truncate
	Sync
	Delete
	Calls // how many kinds there are
)

var names = [...]string{"open", "read", "write", "truncate", "sync", "delete"}

func (c Call) String() string { return names[c] }

// Fault is what a call does instead of its work.
type Fault int

// The faults.
const (
	None  Fault = iota
	EIO         // an input/output error
	Full        // no space
	Short       // a write writes half of the bytes and fails; other calls fail
	Quiet       // a sync or truncate that does nothing and succeeds
)

// FS is a file system. Its methods may be called by several goroutines.
type FS struct {
	Name string // for the vfs parameter of a data source

	mu     sync.Mutex
	counts [Calls]int
	logged [Calls]int // of files whose names end in -wal
	total  int
	decide func(call Call, file string, n int) Fault
}

// system is what is registered with SQLite.
type system struct {
	fs   *FS
	vfs  *sqlite3.Tsqlite3_vfs
	orig uintptr
}

var (
	mu      sync.Mutex
	systems = map[uintptr]*system{} // by the address of vfs
	files   = map[uintptr]*file{}   // by the address of SQLite's file
	methods = map[uintptr]uintptr{} // methods of the files here, by the methods of the default file system
	made    int
)

type file struct {
	sys  *system
	name string
	orig uintptr // methods
}

// New registers a file system. It stays for the life of the process.
func New() *FS {
	tls := libc.NewTLS()
	defer tls.Close()
	mu.Lock()
	defer mu.Unlock()
	made++
	f := &FS{Name: fmt.Sprint("faultfs", made)}
	orig := sqlite3.Xsqlite3_vfs_find(tls, 0)
	name, err := libc.CString(f.Name)
	if orig == 0 || err != nil {
		panic("faultfs: no default file system")
	}
	// In memory of C: the collector must not move or free it.
	p := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	v := (*sqlite3.Tsqlite3_vfs)(at(p))
	*v = *(*sqlite3.Tsqlite3_vfs)(at(orig))
	v.FpNext, v.FzName = 0, name
	*(*func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32)(unsafe.Pointer(&v.FxOpen)) = xOpen
	*(*func(*libc.TLS, uintptr, uintptr, int32) int32)(unsafe.Pointer(&v.FxDelete)) = xDelete
	systems[p] = &system{fs: f, vfs: v, orig: orig}
	if rc := sqlite3.Xsqlite3_vfs_register(tls, p, 0); rc != 0 {
		panic(fmt.Sprint("faultfs: register: ", rc))
	}
	return f
}

// at is an address of C's memory as a pointer.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// Decide sets what decides for each call whether it fails: by the kind of the
// call, the end of the file's name - "", "-wal" or "-journal" - and how many
// calls were made before. Nil lets all succeed.
func (f *FS) Decide(decide func(call Call, file string, n int) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decide, f.total = decide, 0
}

// Count returns how many calls of a kind were made, and how many of them were
// on the write-ahead log.
func (f *FS) Count(call Call) (all, log int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[call], f.logged[call]
}

// Total returns how many calls were made since Decide.
func (f *FS) Total() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

func (f *FS) fault(call Call, name string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[call]++
	suffix := ""
	for _, s := range []string{"-wal", "-journal"} {
		if strings.HasSuffix(name, s) {
			suffix = s
		}
	}
	if suffix == "-wal" {
		f.logged[call]++
	}
	n := f.total
	f.total++
	if f.decide == nil {
		return None
	}
	return f.decide(call, suffix, n)
}

func systemOf(pVfs uintptr) *system {
	mu.Lock()
	defer mu.Unlock()
	return systems[pVfs]
}

func fileOf(pFile uintptr) (*file, *sqlite3.Tsqlite3_io_methods) {
	mu.Lock()
	defer mu.Unlock()
	f := files[pFile]
	return f, (*sqlite3.Tsqlite3_io_methods)(at(f.orig))
}

func xOpen(tls *libc.TLS, pVfs, zName, pFile uintptr, flags int32, pOut uintptr) int32 {
	s := systemOf(pVfs)
	name := ""
	if zName != 0 {
		name = libc.GoString(zName)
	}
	switch s.fs.fault(Open, name) {
	case None, Quiet:
	case Full:
		return sqlite3.SQLITE_FULL
	default:
		return sqlite3.SQLITE_CANTOPEN
	}
	vfs := (*sqlite3.Tsqlite3_vfs)(at(s.orig))
	rc := (*(*func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32)(unsafe.Pointer(&vfs.FxOpen)))(tls, s.orig, zName, pFile, flags, pOut)
	handle := (*sqlite3.Tsqlite3_file)(at(pFile))
	if rc != 0 || handle.FpMethods == 0 {
		return rc
	}
	mu.Lock()
	defer mu.Unlock()
	orig := handle.FpMethods
	if methods[orig] == 0 {
		p := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		m := (*sqlite3.Tsqlite3_io_methods)(at(p))
		*m = *(*sqlite3.Tsqlite3_io_methods)(at(orig))
		*(*func(*libc.TLS, uintptr) int32)(unsafe.Pointer(&m.FxClose)) = xClose
		*(*func(*libc.TLS, uintptr, uintptr, int32, int64) int32)(unsafe.Pointer(&m.FxRead)) = xRead
		*(*func(*libc.TLS, uintptr, uintptr, int32, int64) int32)(unsafe.Pointer(&m.FxWrite)) = xWrite
		*(*func(*libc.TLS, uintptr, int64) int32)(unsafe.Pointer(&m.FxTruncate)) = xTruncate
		*(*func(*libc.TLS, uintptr, int32) int32)(unsafe.Pointer(&m.FxSync)) = xSync
		methods[orig] = p
	}
	handle.FpMethods = methods[orig]
	files[pFile] = &file{s, name, orig}
	return rc
}

func xDelete(tls *libc.TLS, pVfs, zName uintptr, syncFolder int32) int32 {
	s := systemOf(pVfs)
	if s.fs.fault(Delete, libc.GoString(zName)) != None {
		return sqlite3.SQLITE_IOERR_DELETE
	}
	orig := (*sqlite3.Tsqlite3_vfs)(at(s.orig))
	return (*(*func(*libc.TLS, uintptr, uintptr, int32) int32)(unsafe.Pointer(&orig.FxDelete)))(tls, s.orig, zName, syncFolder)
}

func xClose(tls *libc.TLS, pFile uintptr) int32 {
	_, m := fileOf(pFile)
	mu.Lock()
	delete(files, pFile)
	mu.Unlock()
	return (*(*func(*libc.TLS, uintptr) int32)(unsafe.Pointer(&m.FxClose)))(tls, pFile)
}

func xRead(tls *libc.TLS, pFile, buf uintptr, n int32, offset int64) int32 {
	f, m := fileOf(pFile)
	if f.sys.fs.fault(Read, f.name) != None {
		return sqlite3.SQLITE_IOERR_READ
	}
	return (*(*func(*libc.TLS, uintptr, uintptr, int32, int64) int32)(unsafe.Pointer(&m.FxRead)))(tls, pFile, buf, n, offset)
}

func xWrite(tls *libc.TLS, pFile, buf uintptr, n int32, offset int64) int32 {
	f, m := fileOf(pFile)
	write := *(*func(*libc.TLS, uintptr, uintptr, int32, int64) int32)(unsafe.Pointer(&m.FxWrite))
	switch f.sys.fs.fault(Write, f.name) {
	case EIO:
		return sqlite3.SQLITE_IOERR_WRITE
	case Full:
		return sqlite3.SQLITE_FULL
	case Short:
		write(tls, pFile, buf, n/2, offset)
		return sqlite3.SQLITE_FULL
	}
	return write(tls, pFile, buf, n, offset)
}

func xTruncate(tls *libc.TLS, pFile uintptr, size int64) int32 {
	f, m := fileOf(pFile)
	switch f.sys.fs.fault(Truncate, f.name) {
	case None:
	case Quiet:
		return sqlite3.SQLITE_OK
	default:
		return sqlite3.SQLITE_IOERR_TRUNCATE
	}
	return (*(*func(*libc.TLS, uintptr, int64) int32)(unsafe.Pointer(&m.FxTruncate)))(tls, pFile, size)
}

func xSync(tls *libc.TLS, pFile uintptr, flags int32) int32 {
	f, m := fileOf(pFile)
	switch f.sys.fs.fault(Sync, f.name) {
	case None:
	case Quiet:
		return sqlite3.SQLITE_OK
	default:
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	return (*(*func(*libc.TLS, uintptr, int32) int32)(unsafe.Pointer(&m.FxSync)))(tls, pFile, flags)
}
