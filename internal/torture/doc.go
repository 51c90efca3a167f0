// Package torture holds the tests of twill that need more than the root module
// may depend on, or more time than a change should wait for: state machines
// against a model, linearizability, leaks, soaks, and child processes that
// panic wherever they can. It has no code of its own. Its README says how it
// is run.
package torture
