// Package admin is a web page, a JSON API and a set of rules that show the
// dispatch queues of a program and steer them while it runs: their numbers over
// the last hour, the jobs that are pending, underway or have ended, width, rate,
// pauses, and actions on one job, on several, or on all that match a filter.
// Unlike the metrics of a queue it is for a person who asks why something is
// stuck, and changes it.
//
//	page := admin.New(admin.Options{Authorize: authorize})
//	page.Add("sms", admin.Dispatch(queue))
//	mux.Handle("/queues/", http.StripPrefix("/queues", page))
//
// # Who may do what
//
// A [Page] serves nothing without [Options.Authorize], which is asked for every
// request and for every action, or an explicit [Options.Insecure]. A request for
// a host that is not in [Options.Hosts], or that another site has had a browser
// send, is refused before that. Every change is kept in the audit list.
//
// # What is shown
//
// Arguments of jobs are shown by a function that the program gives,
// [DispatchOptions.Show]; without it only their type and size are. The names,
// units and states are those of twill: durations are seconds in JSON.
package admin
