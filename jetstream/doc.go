// Package jetstream shares dispatch queues, poolers, dicts and locks among
// machines. Their state is in streams of a NATS JetStream cluster, which
// already knows how to keep it when a server is lost; a program brings a
// connection to it, and nothing else has to be installed.
//
// [NewQueue] is for jobs what [twill.NewResizableDispatchQueue] is in one
// process, and has its methods:
//
//	q, err := jetstream.NewQueue(ctx, conn, "sms", send, nil) // puts jobs, and runs them
//	job, err := q.Put(message, 5)                             // returns when the stream has it
//	receipt, err := job.Await(ctx)                            // wherever it ran
//
// [NewPooler], [NewDict], [NewLock] and [NewSemaphore] are for calls, values
// and leases what the types of those names of package twill are in one process.
// The following is about the queue; each of these types has its own promises.
//
// # What is promised
//
// A job that Put has returned runs at least once, if a worker is there. What it
// does to the world must bear being done twice: see [AttemptOf] for a token.
//
// The first outcome that is stored for a job is its outcome. A call that ends,
// a cancel and the end of a job's time compete for it, and one wins. A job that
// has an outcome is not run again.
//
// Priorities, groups, keys, delays, the width and the rate hold for the whole
// cluster. The width may be exceeded while a call goes on that belongs to its
// process no longer: one whose worker was taken for lost and is not, or whose
// job was canceled just before another process became the scheduler.
//
// The clocks of machines are not compared. Delays and timeouts are measured by
// the clock of the servers that have the streams, and a time of day is
// converted by the machine that puts the job.
//
// # What the servers promise
//
// JetStream acknowledges a message when most of a stream's Replicas have it,
// and by default before any of them has written it to its disk: that happens
// within two minutes. With Replicas of 3 on three machines nothing is lost when
// one of them is. If all lose their power at once, what was not written is
// lost, and with one replica so it is when that one does. The server's setting
// "sync_interval: always" writes each message before it is acknowledged.
//
// # How it works
//
// One of the processes that run jobs is the scheduler. It reads the puts from
// the stream NAME-in, decides by the root package's own queue which job is
// next, and writes each change to the stream NAME-journal before it sends
// anything that depends on it. Workers tell it three times in a lease that they
// live. They store the outcome of a job in the stream NAME-out, under its id,
// before they report its end.
//
// A process whose scheduler is silent appends a record to the journal that says
// that it takes over, reads the journal up to that record, and goes on. Each
// message is appended on the condition that the scheduler has read or written
// the message before. So nothing of an earlier scheduler, however long it was
// frozen, is stored behind such a record.
package jetstream
