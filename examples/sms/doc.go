// Command sms sends text messages. It is an example of twill's
// ResizableDispatchQueue, and shows what that queue was made for: people enter a
// phone number and a message on a web page; sending is slow and the carrier sets
// limits; so messages wait in a queue and go out through a pipeline whose width
// an operator changes while it runs. An interrupt stops it between messages,
// not in the middle of one, and the next start goes on where it stopped.
//
//	go run ./examples/sms                                     serve the page on http://127.0.0.1:8025
//	go run ./examples/sms -send examples/sms/recipients.csv   send the messages of a file, and exit
//
// Flags:
//
//	-addr HOST:PORT  where to serve the page (127.0.0.1:8025; port 0 takes a free one)
//	-width N         messages underway at once, 1 to 100 (5)
//	-state FILE      where accepted messages are kept (sms-state.json in the user's cache directory)
//	-carrier URL     where the carrier takes messages; without it the program starts one of its own
//	                 on a loopback port, which is slow, sometimes out of order, and delivers to nobody
//	-send FILE       send the messages of a CSV file, a line "phone number,text" each, instead of serving
//
// With -send there is neither a page nor a state file, and -addr and -state are
// refused. A line that cannot be sent is reported with its number, and skipped.
//
// Exit codes:
//
//	0    stopped by an interrupt or SIGTERM; with -send: every message was sent
//	1    it could not start, or the state file could not be written; with -send: a message failed for good
//	2    flags or arguments that make no sense
//	130  stopped at once, by a second interrupt; with -send: interrupted, some messages were not sent
//
// # What is promised
//
// A message that was answered with 202, or that the page shows as waiting, is in
// the state file, forced to the disk. It leaves the file when it was sent,
// canceled or dismissed. A message that failed for good stays, for somebody
// to send it again. So nothing is lost, neither by an interrupt nor by a crash.
//
// After an interrupt every message is sent once: those underway are finished,
// with all the attempts they need, the others were not begun. After a crash, or
// a second interrupt, those that were underway, and those sent within the last
// 300 ms or so, are offered to the carrier again, under the same Idempotency-Key
// by which the carrier knows them. What is only in memory is the list of
// messages that are over, the last 1000.
//
// # HTTP
//
//	GET  /                          the page; it works without scripts too
//	GET  /events                    server-sent events: a snapshot as JSON after each change
//	POST /messages                  {"to": "+12125550123", "text": "Hello", "priority": 0}; 202 and a Location
//	GET  /messages/{id}             the message and its state: PENDING, UNDERWAY, FINISHED, FAILED or CANCELED
//	POST /messages/{id}/cancel      take it back, or dismiss it if it failed
//	POST /messages/{id}/priority    {"priority": -1}; lower goes first, equals in the order they came
//	POST /messages/{id}/send-again  if it failed
//	POST /width                     {"width": 8}, 0 to 100
//	POST /pause, POST /resume       start no more messages; start them again
//	GET  /healthz                   200, or 503 while it stops or cannot write its state file
//
// Bodies may be forms as well. Errors are problem documents (RFC 9457); status
// 422 comes with a list "errors" of what is wrong with which field. There is no
// login: serve it to this machine only. Requests for other host names than that
// of -addr and those of the loopback are refused, and so are requests that
// pages of other sites make.
package main
