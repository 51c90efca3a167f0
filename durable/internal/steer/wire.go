package steer

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twillgo/twill/durable/internal/store"
)

// A connection is for one request. The client sends the token and a request,
// each a line, and gets replies, each a line of JSON. The last one has an Error
// or an End: without it, the owner has ended. A client that closes the
// connection ends the work. While it goes on, the owner sends replies that are
// Alive, so that one that is frozen is noticed: its connections are accepted by
// the system.

// Server accepts requests of other processes.
type Server struct {
	service Doer
	token   string
	l       net.Listener
	ctx     context.Context // of requests
	stop    context.CancelCauseFunc
	running sync.WaitGroup
}

// errClosing is why the requests end that a Close finds.
var errClosing = errors.New("the owner of the queue closes it")

// handshake is how long a client may take to send the token and the request.
const handshake = 10 * time.Second

// beat is how often an owner gives a sign of life, and minSilence for how long
// at least it may give none.
const (
	beat       = 250 * time.Millisecond
	minSilence = 2 * time.Second
)

// Serve listens on this machine's own network, and writes where into the file
// of the store's owner.
func Serve(s *store.Store, service Doer) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &Server{service: service, token: rand.Text(), l: l}
	srv.ctx, srv.stop = context.WithCancelCause(context.Background())
	if err := s.Announce(l.Addr().String(), srv.token); err != nil {
		l.Close()
		return nil, err
	}
	srv.running.Go(srv.accept)
	return srv, nil
}

func (srv *Server) accept() {
	for {
		c, err := srv.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-srv.ctx.Done():
				return
			}
		}
		srv.running.Go(func() { srv.serve(c) })
	}
}

// Close ends the requests that are carried out, and returns when they have
// ended.
func (srv *Server) Close() {
	srv.stop(errClosing)
	srv.l.Close()
	srv.running.Wait()
}

// serve carries out the request of a connection.
func (srv *Server) serve(c net.Conn) {
	defer c.Close()
	ctx, cancel := context.WithCancelCause(srv.ctx)
	defer cancel(nil)
	_ = c.SetReadDeadline(time.Now().Add(handshake))
	stop := context.AfterFunc(srv.ctx, func() {
		_ = c.SetReadDeadline(time.Now())
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // for the reason
	})
	defer stop()
	in := bufio.NewReader(c)
	token := make([]byte, len(srv.token)+1)
	if _, err := io.ReadFull(in, token); err != nil {
		return
	}
	out := bufio.NewWriterSize(c, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	var mu sync.Mutex // held while a reply is sent
	emit := func(r *Reply) error {
		mu.Lock()
		defer mu.Unlock()
		err := enc.Encode(r)
		if err == nil && (r.Job == nil && r.Outcome == nil || out.Available() < 4<<10) {
			err = out.Flush()
		}
		if srv.ctx.Err() != nil {
			return errClosing
		}
		return err
	}
	if subtle.ConstantTimeCompare(token, []byte(srv.token+"\n")) != 1 {
		_ = emit(&Reply{Error: errToken.Error()})
		return
	}
	var req Request
	dec := json.NewDecoder(in)
	if err := dec.Decode(&req); err != nil {
		_ = emit(&Reply{Error: "the request cannot be read: " + err.Error()})
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	if srv.ctx.Err() != nil {
		_ = c.SetReadDeadline(time.Now())
	}
	gone := make(chan struct{})
	go func() { // the client sends no more: a read returns when it has gone
		defer close(gone)
		_, _ = io.Copy(io.Discard, in)
		cancel(errors.New("the client has gone"))
	}()
	stopBeats := beats(emit)
	err := srv.do(ctx, &req, emit)
	stopBeats()
	if err != nil {
		_ = emit(&Reply{Error: err.Error()})
	}
	_ = out.Flush()
	_ = c.SetReadDeadline(time.Now())
	<-gone
}

// beats gives signs of life until the function that it returns is called, which
// returns when there will be no more.
func beats(emit func(*Reply) error) (stop func()) {
	quit := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				if emit(&Reply{Alive: true}) != nil {
					return
				}
			}
		}
	})
	return func() {
		close(quit)
		running.Wait()
	}
}

// do contains a panic, as of the queue's own functions.
func (srv *Server) do(ctx context.Context, req *Request, emit func(*Reply) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return srv.service.Do(ctx, req, emit)
}

// errToken is how an owner refuses a client.
var errToken = errors.New("the token is wrong")

// client is a Doer in another process.
type client struct {
	owner   store.Owner
	silence time.Duration // how long the owner may give no sign of life
}

// patient is a connection whose reads and writes fail if each takes too long.
type patient struct {
	net.Conn
	silence time.Duration
}

func (p patient) Read(b []byte) (int, error) {
	_ = p.SetReadDeadline(time.Now().Add(p.silence))
	return p.Conn.Read(b)
}

func (p patient) Write(b []byte) (int, error) {
	_ = p.SetWriteDeadline(time.Now().Add(p.silence))
	return p.Conn.Write(b)
}

// Do is part of [Doer].
func (c *client) Do(ctx context.Context, req *Request, emit func(*Reply) error) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	lost := func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("the owner of the queue, process %d, has given no sign of life for %v: is it stopped?", c.owner.Process, c.silence)
		}
		return fmt.Errorf("the owner of the queue, process %d, has gone: %w", c.owner.Process, err)
	}
	out := bufio.NewWriter(conn)
	_, _ = out.WriteString(c.owner.Token + "\n")
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := errors.Join(enc.Encode(req), out.Flush()); err != nil {
		return lost(err)
	}
	in := json.NewDecoder(conn)
	for {
		var r Reply
		switch err := in.Decode(&r); {
		case err == io.EOF:
			return lost(io.ErrUnexpectedEOF)
		case err != nil:
			return lost(err)
		case r.Error == errToken.Error():
			return fmt.Errorf("the owner of the queue, process %d: %w", c.owner.Process, errToken)
		case r.Error != "":
			return errors.New(r.Error)
		case r.Alive:
			continue
		}
		if err := emit(&r); err != nil {
			return err
		}
		if r.End != nil {
			return nil
		}
	}
}

func (c *client) dial(ctx context.Context) (net.Conn, error) {
	if !strings.HasPrefix(c.owner.Address, "127.0.0.1:") {
		return nil, fmt.Errorf("not an address of the owner: %q", c.owner.Address)
	}
	conn, err := (&net.Dialer{Timeout: c.silence}).DialContext(ctx, "tcp", c.owner.Address)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", c.owner.Process, err)
	}
	return patient{conn, c.silence}, nil
}
