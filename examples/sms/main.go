package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	interrupts := make(chan os.Signal, 4)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, interrupts))
}

// run is the program. It returns its exit code.
func run(args []string, stdout, stderr io.Writer, interrupts <-chan os.Signal) int {
	cfg, err := parseFlags(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "sms: %v\nsms -help explains the flags.\n", err)
		return exitUsage
	}
	code, err := start(cfg, stdout, stderr, interrupts)
	if err != nil {
		fmt.Fprintf(stderr, "sms: %v\n", err)
	}
	return code
}

// start does what the flags ask for, with a carrier of its own if they name
// none.
func start(cfg config, stdout, stderr io.Writer, interrupts <-chan os.Signal) (int, error) {
	if cfg.carrier == "" {
		url, stop, err := startCarrier()
		if err != nil {
			return exitFailed, err
		}
		defer stop()
		cfg.carrier = url
		fmt.Fprintf(stdout, "carrier of its own, which delivers to nobody, on %s\n", url)
	}
	if cfg.send != "" {
		return send(cfg, stdout, stderr, interrupts)
	}
	return serve(cfg, stdout, stderr, interrupts)
}
