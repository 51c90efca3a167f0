package store

import (
	"encoding/binary"
	"hash/crc32"
)

// State is where a job is in its life. The numbers are in files: they do not
// change.
type State uint8

// A job is in the table of live jobs while its state is one of the first three,
// and in that of ended jobs afterwards.
const (
	Pending  State = iota // to be run
	Underway              // its call was started
	Parked                // the program does not know its kind
	Finished              // its call returned a value
	Failed                // it failed
	Canceled              // it was canceled
	Dead                  // it failed and is kept aside: it crashed the process, or is damaged
)

var states = [...]string{"pending", "underway", "parked", "finished", "failed", "canceled", "dead"}

// String returns the name, as in "pending".
func (s State) String() string {
	if int(s) < len(states) {
		return states[s]
	}
	return "unknown"
}

// Job is what a file holds of a job, without its argument. Times are
// milliseconds since 1970, 0 means none.
type Job struct {
	ID       int64
	Seq      int64 // number of the last change of the row
	State    State
	Priority int64
	Queued   int64
	Due      int64
	Started  int64
	Expires  int64
	Ended    int64 // of an ended job
	Attempts int64
	Crashes  int64 // calls that ended with the process
	Retries  int64 // pauses of its Retry that were used
	Timeout  int64 // nanoseconds
	Held     bool
	Again    bool // waits for an earlier run of its key
	Key      string
	Group    string
	Policy   string // name of its Retry
	Error    string // the last error, as text
	Kind     string // what kind of error; see the users of this package
	Result   []byte // of an ended job
}

// KindCanceled is the Kind of a job that was canceled.
const KindCanceled = "c"

const (
	flagHeld  = 1
	flagAgain = 2
)

func (j *Job) flags() (n int64) {
	if j.Held {
		n |= flagHeld
	}
	if j.Again {
		n |= flagAgain
	}
	return n
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum over all fields.
func (j *Job) sum(buf []byte) (int64, []byte) {
	b := buf[:0]
	for _, n := range [...]int64{j.ID, j.Seq, int64(j.State), j.Priority, j.Queued, j.Due, j.Started, j.Expires, j.Ended,
		j.Attempts, j.Crashes, j.Retries, j.Timeout, j.flags()} {
		b = binary.AppendVarint(b, n)
	}
	for _, s := range [...]string{j.Key, j.Group, j.Policy, j.Error, j.Kind} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(len(j.Result)))
	sum := crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, j.Result)
	return int64(sum), b
}

// dataSum is the checksum of the argument of a job, or of a setting.
func dataSum(id int64, name string, data []byte) int64 {
	sum, _ := dataSumIn(nil, id, name, data)
	return sum
}

// dataSumIn is dataSum with a buffer, which it returns.
func dataSumIn(buf []byte, id int64, name string, data []byte) (int64, []byte) {
	b := append(binary.AppendVarint(buf[:0], id), name...)
	return int64(crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, data)), b
}
