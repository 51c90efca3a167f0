// Package conformance has the tests of the cases of Twisted and of Promises/A+:
//
//	go test -tags suites ./internal/test/conformance
package conformance
