package main

import (
	"context"
	"time"
)

// sms is the argument of a job.
type sms struct {
	Number, Text string
}

// carrier sends messages, but only as many as it is allowed to.
type carrier struct {
	through chan struct{} // each value in it lets one message through
}

func newCarrier() *carrier { return &carrier{make(chan struct{}, 100)} }

func (c *carrier) letThrough(n int) {
	for range n {
		c.through <- struct{}{}
	}
}

// sendSMS is the function of the queue. It returns the time at which the
// message was sent.
func (c *carrier) sendSMS(ctx context.Context, _ sms) (time.Time, error) {
	select {
	case <-c.through:
		return time.Now(), nil
	case <-ctx.Done(): // the job was canceled
		return time.Time{}, context.Cause(ctx)
	}
}
