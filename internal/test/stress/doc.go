// Package stress has the tests of many goroutines and of growth:
//
//	go test -tags suites ./internal/test/stress
package stress
