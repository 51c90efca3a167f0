package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// goodbye is how long open requests may take when everything else has ended.
const goodbye = 5 * time.Second

// serve serves the page until an interrupt. Then it takes no more messages,
// finishes those underway - the page stays, and shows how far that is - and
// leaves the others to the next start. A second interrupt finishes nothing.
func serve(cfg config, stdout, stderr io.Writer, interrupts <-chan os.Signal) (int, error) {
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return exitFailed, fmt.Errorf("the page cannot be served: %w; -addr chooses another address", err)
	}
	defer func() { _ = listener.Close() }()
	store, err := OpenStore(cfg.state)
	if err != nil {
		return exitFailed, err
	}
	courier := NewCourier(cfg.carrier, maxWidth)
	defer courier.Close()
	outbox, err := NewOutbox(store, courier, cfg.width)
	if err != nil {
		return exitFailed, errors.Join(err, store.Close())
	}
	if outbox.restored > 0 {
		fmt.Fprintf(stdout, "%d messages are back in the queue, from %s\n", outbox.restored, cfg.state)
	}
	closing, closeStreams := context.WithCancel(context.Background())
	defer closeStreams()
	board := NewBoard(outbox)
	go board.Run(closing)
	server := newServer(closing, cfg.addr, outbox, board)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Fprintf(stdout, "serving on http://%s\n", listener.Addr())
	if at, ok := listener.Addr().(*net.TCPAddr); ok && !at.IP.IsLoopback() {
		fmt.Fprintln(stderr, "sms: there is no login: whoever reaches this address can send messages")
	}

	code := exitOK
	select {
	case <-interrupts:
		code = drain(outbox, interrupts, stdout)
	case err = <-served: // the listener broke
		<-outbox.Stop().Done()
		code = exitFailed
	}
	closeStreams()
	patience, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	if server.Shutdown(patience) != nil {
		_ = server.Close()
	}
	left, saving := outbox.Close()
	fmt.Fprintf(stdout, "stopped; %d messages wait for the next start\n", left)
	if err = errors.Join(err, saving); err != nil {
		return exitFailed, err
	}
	return code, nil
}

// drain stops the outbox. It returns the exit code.
func drain(outbox *Outbox, interrupts <-chan os.Signal, stdout io.Writer) int {
	drained := outbox.Stop()
	underway, _ := outbox.queue.Size()
	fmt.Fprintf(stdout, "stopping: %d underway are being finished; interrupt again to stop at once\n", underway)
	select {
	case <-drained.Done():
		return exitOK
	case <-interrupts:
		<-outbox.StopNow().Done()
		return exitInterrupted
	}
}
