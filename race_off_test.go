//go:build !race

package twill_test

const raceEnabled = false
