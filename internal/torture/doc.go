// Package torture has the tests of twill that need more than the root module
// may depend on, or more time than every change should take: state machines
// compared with a model, linearizability, leaks, soaks, and child processes
// that panic wherever user code runs. It has no other code. Its README says how
// to run it.
package torture
