package twill

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// RetryAfterError is the error of an attempt together with the time after which
// the server asked to be tried again. [Retry] and a [RetryingCall] find it also
// where it is wrapped, and pause for that long if it is longer than their own
// pause, but no longer than MaxRetryAfter.
type RetryAfterError struct {
	After time.Duration // 0 or less says nothing
	Err   error
}

func (e *RetryAfterError) Error() string {
	if e == nil || e.Err == nil {
		return "twill: retry later"
	}
	return e.Err.Error()
}

// Unwrap returns the error of the attempt.
func (e *RetryAfterError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// RetryAfter returns err as a [*RetryAfterError], or nil if err is nil.
func RetryAfter(after time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &RetryAfterError{After: after, Err: err}
}

// RetryAfterHeader is [RetryAfter] with the time that the Retry-After field of an
// HTTP response asks for: header is a [net/http.Header]. Seconds and the three
// forms of dates in HTTP are understood; a date is compared with the clock of
// this machine. Where the field is missing, says something else, or says a time
// that is over, err is returned as it is.
func RetryAfterHeader(header map[string][]string, err error) error {
	if fields := header["Retry-After"]; len(fields) > 0 && err != nil {
		if after := parseRetryAfter(fields[0]); after > 0 {
			return RetryAfter(after, err)
		}
	}
	return err
}

// The dates of HTTP, the one in use first (RFC 9110, section 5.6.7).
var httpDates = [...]string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC}

// parseRetryAfter returns the time that a field asks for, 0 or less if it asks
// for none. The largest duration stands for what is larger.
func parseRetryAfter(field string) time.Duration {
	field = strings.Trim(field, " \t")
	if field == "" {
		return 0
	}
	if strings.Trim(field, "0123456789") == "" {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil || n > math.MaxInt64/int64(time.Second) {
			return math.MaxInt64
		}
		return time.Duration(n) * time.Second
	}
	for _, layout := range httpDates {
		if t, err := time.Parse(layout, field); err == nil {
			return time.Until(t)
		}
	}
	return 0
}
