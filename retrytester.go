package twill

import "time"

// A failure tester looks at the error of an attempt and returns nil if the call
// is to go on, or an error to stop with; see Tester in [RetryOptions].

// Permanent returns err marked as one that is not to be retried: a function
// returns it to end its call. The mark is for [Retry] and [RetryingCall] and
// does not show otherwise; Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }

func (e *permanentError) Unwrap() error { return e.err }

// unmarked is err without the mark that Permanent put around it.
func unmarked(err error) error {
	for {
		e, ok := err.(*permanentError)
		if !ok {
			return err
		}
		err = e.err
	}
}

// RetryIf returns a tester that goes on with errors for which retry reports
// true, and stops with others.
func RetryIf(retry func(err error) bool) func(err error) error {
	if retry == nil {
		panic("twill: RetryIf with a nil function")
	}
	return func(err error) error {
		if retry(err) {
			return nil
		}
		return err
	}
}

// RetryAtMost returns a maker of testers, for NewTester in [RetryOptions], that go on
// with any error, but only n times in a call with one that match reports true for. So the
// tester of the recipe, to which exactly one 404 is allowed, is
// RetryAtMost(1, is404).
func RetryAtMost(n int, match func(err error) bool) func() func(err error) error {
	if match == nil {
		panic("twill: RetryAtMost with a nil function")
	}
	return func() func(error) error {
		left := n
		return func(err error) error {
			if !match(err) {
				return nil
			}
			if left <= 0 {
				return err
			}
			left--
			return nil
		}
	}
}

// traits is what an error says about another attempt, wherever in its tree.
type traits struct {
	fatal     bool          // it shows a fault of the program, which another attempt cannot help
	permanent bool          // it is marked so
	after     time.Duration // the first time that a RetryAfterError asks for
}

// look adds what err says. One walk for all, because it is made for every
// failed attempt.
func (t *traits) look(err error) {
	for err != nil {
		switch e := err.(type) {
		case *PanicError:
			t.fatal = true
		case *permanentError:
			t.permanent = true
		case *RetryAfterError:
			if e != nil && t.after <= 0 {
				t.after = e.After
			}
		case *RetryError: // of a call inside: what it ended with, and not what went before
			if e == nil {
				return
			}
			t.look(e.Reason)
			err = e.Last()
			continue
		}
		if err == ErrGoexit || err == errNoFuture {
			t.fatal = true
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				t.look(err)
			}
			return
		default:
			return
		}
	}
}
