// Package oracle replays recordings of real Twisted and txRDQ:
//
//	go test -tags suites ./internal/test/oracle
package oracle
