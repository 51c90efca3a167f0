// Package admin is a web page and a JSON API that show and control the dispatch
// queues of a program while it runs: their numbers over the last hour, the jobs
// that are pending, underway or have ended, width, rate, pauses, and actions on
// one job, on several, or on all that match a filter. Unlike the metrics of a
// queue, it is for an operator who needs to know why something is stuck, and to
// change it.
//
//	page := admin.New(admin.Options{Authorize: authorize})
//	page.Add("sms", admin.Dispatch(queue))
//	mux.Handle("/queues/", http.StripPrefix("/queues", page))
//
// # Who may do what
//
// A [Page] serves nothing without [Options.Authorize], which is called for
// every request and for every action, or an explicit [Options.Insecure]. A
// request for a host that is not in [Options.Hosts], or that another site has
// made a browser send, is refused before that. Every change is kept in the
// audit list.
//
// # What is shown
//
// The program provides a function that shows arguments of jobs,
// [DispatchOptions.Show]; without it only their type and size are shown. The
// names, units and states are those of twill: durations are seconds in JSON.
package admin
