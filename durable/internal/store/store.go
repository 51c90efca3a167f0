// Package store keeps the jobs of a durable queue in an SQLite file. One
// goroutine owns the one connection: it takes the operations that have arrived
// since the last commit, runs them in one transaction, and reports to each when
// the transaction is on disk. It knows rows and bytes, not what they mean.
package store

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Why a file is refused, or an operation fails.
var (
	// ErrInUse is returned by Open if another process, or this one, has the
	// file open.
	ErrInUse = errors.New("durable: file is in use")

	// ErrNotQueue is returned by Open for a file that is not one of a queue.
	ErrNotQueue = errors.New("durable: not the file of a queue")

	// ErrNewer is returned by Open for a file that a later version has written.
	ErrNewer = errors.New("durable: file was written by a later version")

	// ErrBroken is what all operations fail with after the disk has failed.
	ErrBroken = errors.New("durable: the disk has failed, nothing more is acknowledged")

	// ErrDiskFull is what an operation fails with while there is no space. The
	// next one may succeed.
	ErrDiskFull = errors.New("durable: disk is full")

	// ErrDamaged is found in the error about a row whose checksum is wrong, or
	// that SQLite cannot read.
	ErrDamaged = errors.New("durable: damaged row")

	// ErrClosed is what operations fail with after Close.
	ErrClosed = errors.New("durable: queue is closed")

	// ErrNoJob is returned if there is no job with an id.
	ErrNoJob = errors.New("durable: no such job")

	// ErrNoID is returned if there is no id above those that were used.
	ErrNoID = errors.New("durable: there is no id for another job: the highest one there can be was used")
)

// Options are the settings of Open.
type Options struct {
	// MustExist makes Open fail if there is no file, instead of making one.
	MustExist bool

	// Wait is how long Open waits for another owner of the file to close it.
	Wait time.Duration

	// AnyFileSystem lets Open use a file on a network file system, where SQLite
	// may damage it.
	AnyFileSystem bool

	// VFS is the name of SQLite's file system; "" is the default.
	VFS string
}

// Op is an operation on the store.
type Op struct {
	// Do is called within a transaction, on the goroutine of the store, and
	// again if the transaction has to be repeated.
	Do func(tx *Tx) error

	// Done is called once, after the commit or when it has failed, on the
	// goroutine of the store: it must not block and must not call user code.
	// Nil is skipped.
	Done func(error)

	// Must makes the store repeat the operation while the disk is full.
	Must bool

	// Size is about how many bytes are written.
	Size int

	alone func() error // in place of Do, outside a transaction; see Store.alone
}

// Store is an open file. Its methods may be called by several goroutines.
type Store struct {
	path  string
	lock  *fileLock
	db    *conn
	about About
	file  os.FileInfo // of what is open; nil if that cannot be compared
	meta  meta        // as committed; of the goroutine of the store
	ended [2]int64

	mu      sync.Mutex
	ops     []Op
	spare   []Op // for the next ops
	broken  error
	closing bool
	more    chan struct{} // holds a token if there is something to do
	started bool
	over    chan struct{} // closed when the goroutine has ended
	idle    func(*Tx) error
	commits uint64

	onBroken func(error)
}

// About is what Open has found out.
type About struct {
	Path       string
	Version    string // of SQLite
	FileSystem string // its type, "" if unknown
	Schema     int
	Pragmas    map[string]string
	Created    bool

	// Live is how many jobs the file says it has that have not ended, and
	// Missing how many of those are not there; Extra are those that should not
	// be.
	Live, Missing, Extra int64

	// DroppedFrames is how many frames of the write-ahead log lie behind a
	// damaged one. SQLite drops them without a word. Commits is how many
	// transactions they completed.
	DroppedFrames, DroppedCommits int64
}

// maxBatch bounds what one transaction writes.
const (
	maxBatch      = 4096
	maxBatchBytes = 8 << 20
)

// Open opens the file of a queue and makes it if it does not exist. Start has
// to be called before operations are run.
func Open(path string, o Options) (_ *Store, err error) {
	path, err = resolve(path)
	if err != nil {
		return nil, err
	}
	created, err := prepare(path, o.MustExist)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, more: make(chan struct{}, 1), over: make(chan struct{})}
	s.about = About{Path: path, Created: created}
	if s.about.FileSystem, err = checkFileSystem(path, o.AnyFileSystem); err != nil {
		return nil, err
	}
	_, err = os.Lstat(path + ownerSuffix)
	mine := errors.Is(err, os.ErrNotExist)
	if o.MustExist && mine { // no lock is made beside a file of another kind
		if err = checkHeader(path); err != nil {
			return nil, err
		}
	}
	if s.lock, err = lockFile(path, o.Wait); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			if s.db != nil {
				s.db.close()
			}
			s.lock.release()
		}
	}()
	// Before SQLite has the files open: closing one of them later would drop
	// its locks.
	if o.MustExist && !mine {
		if err = checkHeader(path); err != nil {
			return nil, err
		}
	}
	s.about.DroppedFrames, s.about.DroppedCommits = scanLog(path + "-wal")
	if s.db, err = openConn(path, o); err != nil {
		return nil, err
	}
	if err = s.setUp(o); err != nil {
		return nil, err
	}
	// The names of files on a network, and those of Windows, do not identify them.
	if !o.AnyFileSystem && runtime.GOOS != "windows" {
		if s.file, err = os.Lstat(path); err != nil {
			return nil, fmt.Errorf("durable: %w", err)
		}
	}
	return s, nil
}

// resolve returns the path of the file itself, as SQLite and the lock must
// agree on it.
func resolve(path string) (string, error) {
	if path == "" {
		return "", errors.New("durable: no path")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("durable: %w", err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("durable: %w", err)
	}
	return filepath.Join(folder, filepath.Base(path)), nil
}

// prepare makes the file, readable by its owner only, unless it exists.
func prepare(path string, mustExist bool) (created bool, err error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return false, fmt.Errorf("durable: %s: not a regular file", path)
	case err == nil:
		return false, nil
	case !errors.Is(err, os.ErrNotExist) || mustExist:
		return false, fmt.Errorf("durable: %w", err)
	}
	// It is not open yet: no lock of SQLite is lost by the Close.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return false, nil // by another process, at this moment
	}
	if err != nil {
		return false, fmt.Errorf("durable: %w", err)
	}
	err = errors.Join(f.Chmod(0o600), f.Close(), syncFolder(filepath.Dir(path)))
	if err != nil {
		return false, fmt.Errorf("durable: %w", err)
	}
	return true, nil
}

// setUp sets SQLite up, reads back what it was set to, and makes or checks the
// schema.
func (s *Store) setUp(o Options) error {
	if err := s.db.setPragmas(&s.about); err != nil {
		return openError(s.path, err)
	}
	if err := s.db.exec("BEGIN IMMEDIATE"); err != nil {
		return openError(s.path, err)
	}
	err := s.migrate()
	if err == nil {
		err = s.db.exec("COMMIT")
	}
	if err != nil {
		_ = s.db.exec("ROLLBACK")
		return openError(s.path, err)
	}
	if err := s.db.prepareAll(); err != nil {
		return openError(s.path, err)
	}
	if err := s.readMeta(); err != nil {
		return openError(s.path, err)
	}
	return nil
}

// openError is err of opening path, with the name of what went wrong.
func openError(path string, err error) error {
	switch code(err) {
	case codeBusy, codeLocked:
		return fmt.Errorf("%w: %s", ErrInUse, path)
	case codeNotADB:
		return fmt.Errorf("%w: %s", ErrNotQueue, path)
	case codeReadOnly:
		return fmt.Errorf("durable: %s: file cannot be written: %w", path, err)
	case codeCorrupt:
		return fmt.Errorf("durable: %s: %w", path, errors.Join(ErrDamaged, err))
	case codeFull:
		return fmt.Errorf("%w: %s: %w", ErrDiskFull, path, err)
	case codeIOErr:
		if extended(err) == codeNoShm { // no room for the -shm file
			return fmt.Errorf("%w: %s: %w", ErrDiskFull, path, err)
		}
	}
	if errors.Is(err, ErrNotQueue) || errors.Is(err, ErrNewer) || errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w: %s", err, path)
	}
	return fmt.Errorf("durable: opening %s: %w", path, err)
}

// About returns what Open has found out, and Load.
func (s *Store) About() About { return s.about }

// Path returns the path of the file.
func (s *Store) Path() string { return s.path }

// Commits returns how many transactions were committed that have changed
// something.
func (s *Store) Commits() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits
}

// Broken returns the error that has ended all acknowledgments, nil if there was
// none.
func (s *Store) Broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// Start begins to run operations. idle, if it is not nil, is called within a
// transaction after some time without any, and onBroken when acknowledgments
// end, with the error; both on the goroutine of the store.
func (s *Store) Start(idle func(*Tx) error, onBroken func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started, s.idle, s.onBroken = true, idle, onBroken
	go s.run()
}

// Submit adds an operation. Operations run in the order of the calls.
func (s *Store) Submit(op Op) {
	s.mu.Lock()
	err := s.broken
	if s.closing && (err == nil || op.alone != nil) {
		err = ErrClosed
	} else if op.alone != nil {
		err = nil
	}
	if err == nil {
		s.ops = append(s.ops, op)
		select {
		case s.more <- struct{}{}:
		default:
		}
	}
	s.mu.Unlock()
	if err != nil && op.Done != nil {
		op.Done(err)
	}
}

// Run submits an operation and returns when it is on disk.
func (s *Store) Run(do func(tx *Tx) error) error {
	done := make(chan error, 1)
	s.Submit(Op{Do: do, Done: func(err error) { done <- err }})
	return <-done
}

// Close runs the operations that were submitted, and closes the file. Others
// fail with ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	started := s.started
	broken := s.broken
	s.mu.Unlock()
	if !first {
		if started {
			<-s.over
		}
		return nil
	}
	if started {
		select {
		case s.more <- struct{}{}:
		default:
		}
		<-s.over
	}
	if broken == nil {
		s.mu.Lock()
		broken = s.broken
		s.mu.Unlock()
	}
	var err error
	if broken == nil {
		err = s.db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	}
	err = errors.Join(err, s.db.close())
	s.lock.release()
	if err != nil {
		return fmt.Errorf("durable: closing %s: %w", s.path, err)
	}
	return nil
}

// idleAfter is how long the store waits before it tidies up.
const idleAfter = 2 * time.Second

// run is the goroutine of the store.
func (s *Store) run() {
	defer close(s.over)
	timer := time.NewTimer(idleAfter)
	defer timer.Stop()
	tidied := false
	usual := 0
	for {
		s.gather(usual)
		batch, closing := s.take()
		usual = max(len(batch), usual-usual/8)
		if len(batch) > 0 {
			tidied = false
			s.commit(batch)
			clear(batch)
			s.mu.Lock()
			s.spare = batch[:0]
			s.mu.Unlock()
			continue
		}
		if closing {
			return
		}
		timer.Reset(idleAfter)
		select {
		case <-s.more:
		case <-timer.C:
			if !tidied {
				s.tidy()
				tidied = true
			}
		}
	}
}

// gather lets other goroutines run while they submit operations and there are
// far fewer than usual: a transaction for a few of them costs nearly as much as
// one for all.
func (s *Store) gather(usual int) {
	for n := -1; ; {
		s.mu.Lock()
		now := len(s.ops)
		s.mu.Unlock()
		if now == 0 || now == n || 2*now >= usual {
			return
		}
		n = now
		runtime.Gosched()
	}
}

// take returns the operations for the next transaction.
func (s *Store) take() (batch []Op, closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := fitting(s.ops)
	batch = s.ops[:n:n]
	if n == len(s.ops) {
		s.ops, s.spare = s.spare, nil
	} else {
		s.ops = s.ops[n:]
	}
	return batch, s.closing
}

// fitting returns how many of the operations run in one transaction, or 1 if
// the first one runs alone.
func fitting(ops []Op) int {
	n, size := 0, 0
	for n < len(ops) && n < maxBatch && (n == 0 || ops[n].alone == nil && size+ops[n].Size <= maxBatchBytes) {
		size += ops[n].Size
		if n++; ops[n-1].alone != nil {
			break
		}
	}
	return n
}

// commit runs a batch and reports to each operation, in the order of their
// submission. While it waits for space it runs those that were submitted later
// as well.
func (s *Store) commit(batch []Op) {
	if len(batch) == 1 && batch[0].alone != nil {
		finish(batch, batch[0].alone())
		return
	}
	single := 0 // how many of the next run one by one, as one of them fails
	pause := 50 * time.Millisecond
	for len(batch) > 0 {
		if err := s.Broken(); err != nil {
			finish(batch, err)
			return
		}
		if err := s.gone(); err != nil {
			s.fail(err)
			continue
		}
		n := 1
		if single == 0 {
			n = fitting(batch)
		}
		err, ofOp := s.transact(batch[:n])
		switch {
		case err != nil && code(err) == codeFull:
			var closing bool
			if batch, closing = s.refuse(batch, fmt.Errorf("%w: %w", ErrDiskFull, err)); len(batch) == 0 || closing {
				return
			}
			select {
			case <-s.more: // what can be refused is not to wait
			case <-time.After(pause):
				pause = min(2*pause, time.Second)
			}
			batch = s.takeMore(batch)
			single = 0
		case ofOp && n > 1:
			single = n
		case err == nil || ofOp && !isFatal(err):
			if code(err) == codeCorrupt {
				err = fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			finish(batch[:n], err)
			batch = batch[n:]
			single = max(single-1, 0)
		default:
			s.fail(err)
		}
	}
}

// refuse reports full to the operations of a batch that can be refused, and
// returns the others: what they write has happened, and waits for space. If the
// store is closing, these are refused as well. An operation that runs alone
// waits for the batch, so that those behind it are refused here.
func (s *Store) refuse(batch []Op, full error) (kept []Op, closing bool) {
	kept, refused := split(batch)
	s.mu.Lock()
	closing = s.closing
	if !closing && len(kept) > 0 {
		n := untilAlone(s.ops)
		left, behind := split(s.ops[n:])
		s.ops = s.ops[:n+len(left)]
		refused = append(refused, behind...)
	}
	s.mu.Unlock()
	finish(refused, full)
	if closing {
		finish(kept, full)
	}
	return kept, closing
}

// split removes those from ops that can be refused.
func split(ops []Op) (kept, refused []Op) {
	kept = slices.DeleteFunc(ops, func(op Op) bool {
		refuse := !op.Must && op.alone == nil
		if refuse {
			refused = append(refused, op)
		}
		return refuse
	})
	return kept, refused
}

// takeMore adds the operations to a batch that were submitted since, up to one
// that runs alone.
func (s *Store) takeMore(batch []Op) []Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := untilAlone(s.ops)
	batch = append(batch, s.ops[:n]...)
	s.ops = slices.Clone(s.ops[n:])
	return batch
}

// untilAlone returns how many operations come before the first that runs alone.
func untilAlone(ops []Op) int {
	if n := slices.IndexFunc(ops, func(op Op) bool { return op.alone != nil }); n >= 0 {
		return n
	}
	return len(ops)
}

// gone returns an error if the file that is open is not at its path any longer:
// what is written to it would end with the process. Asking for its name opens
// and closes nothing.
func (s *Store) gone() error {
	if s.file == nil {
		return nil
	}
	now, err := os.Lstat(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s was deleted or moved while it was open", s.path)
	case err == nil && !os.SameFile(s.file, now):
		return fmt.Errorf("%s was replaced while it was open", s.path)
	}
	return nil
}

// isFatal reports whether an error of an operation says that the disk fails,
// and not only that one row cannot be read.
func isFatal(err error) bool {
	switch code(err) {
	case codeIOErr, codeReadOnly, codeCantOpen, codeNoMem, codeBusy, codeLocked, codeProtocol, codeNotADB, codeMisuse:
		return true
	}
	return false
}

func finish(batch []Op, err error) {
	for _, op := range batch {
		if op.Done != nil {
			op.Done(err)
		}
	}
}

// fail ends all acknowledgments: after a failed fsync it is not known what is
// on disk, and a second one that succeeds would prove nothing.
func (s *Store) fail(err error) {
	s.mu.Lock()
	s.broken = fmt.Errorf("%w: %w", ErrBroken, err)
	broken, left := s.broken, s.ops
	s.ops = nil
	s.mu.Unlock()
	finish(left, broken)
	if s.onBroken != nil {
		s.onBroken(broken)
	}
}

// transact runs a batch in a transaction. ofOp is whether an operation has
// failed, not the commit.
func (s *Store) transact(batch []Op) (err error, ofOp bool) {
	if err := s.db.run(stmtBegin); err != nil {
		return err, false
	}
	tx := Tx{s: s, meta: s.meta, ended: s.ended}
	defer func() {
		if err != nil {
			_ = s.db.run(stmtRollback) // SQLite may have done it
		}
	}()
	for i := range batch {
		if err := batch[i].Do(&tx); err != nil {
			return err, true
		}
	}
	if tx.dirty {
		if err := tx.writeMeta(); err != nil {
			return err, false
		}
	}
	if err := s.db.run(stmtCommit); err != nil {
		return err, false
	}
	s.meta, s.ended = tx.meta, tx.ended
	if tx.dirty {
		s.mu.Lock()
		s.commits++
		s.mu.Unlock()
	}
	return nil, false
}

// tidy is called when there is nothing to do: it gives space back.
func (s *Store) tidy() {
	if s.idle != nil {
		s.commit([]Op{{Do: s.idle}})
	}
	if s.Broken() != nil {
		return
	}
	_ = s.db.exec("PRAGMA incremental_vacuum(2000)")
	if err := s.db.exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil && isFatal(err) && code(err) != codeBusy {
		s.fail(err)
	}
}

// forever is a bound for ids, and the highest one.
const forever = math.MaxInt64
