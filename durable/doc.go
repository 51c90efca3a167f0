// Package durable is a dispatch queue whose jobs survive kill -9, power cuts
// and bad disks, in one file beside the program. Unlike a queue with a server,
// such as asynq's or River's, it is embedded: one process owns the file and
// runs the jobs.
//
//	q, err := durable.Open("jobs.db", send, nil)
//	job, err := q.Put(message, 5) // returns when the job is on disk
//
// A [Queue] is a [twill.ResizableDispatchQueue] with a journal: priorities,
// groups, delays, keys, retries, ageing, the rate limit and the rest are those
// of that type. The file cannot be part of a transaction of the application's
// own database; see the README for what to do instead.
//
// # What is promised
//
// A Put that returns nil is on disk, synced. Its job runs at least once: a job
// that is underway when the process ends runs again when the file is opened. A
// result that was seen stays: futures settle when the end of the job is on
// disk. A job that crashes the process is dead after Options.MaxCrashes times.
// When the disk fails, nothing is acknowledged any longer, and calls return
// [ErrBroken].
//
// # Periodic jobs
//
// [Queue.Every] puts a job at each time of a [Schedule], such as that of a cron
// line. It survives restarts, makes up for missed times, and has a rule for
// changes of the clock.
//
// # The file
//
// The file is an SQLite database in exclusive mode, with a write-ahead log.
// Other programs cannot open it while the queue is open, and a program must not
// open, read or copy the file or its log by itself in the process of the queue:
// closing them would drop SQLite's locks. Beside the file are its log, ending
// in -wal, at times an index of that, ending in -shm, and a file that ends in
// -owner, which names the process that has the queue open and the port on which
// it listens for command twill-jobs.
//
// That command, in cmd/twill-jobs, lists, shows, retries, cancels, exports,
// imports, backs up, compacts and checks a queue, while a process has it open
// and while none does.
package durable
