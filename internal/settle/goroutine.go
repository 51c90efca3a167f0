package settle

import "runtime"

// Goroutine returns the number of the calling goroutine. It takes a microsecond
// or more. It answers only one question, which nothing else can: whether a
// canceler settles its future itself, or another goroutine does so while the
// canceler runs. It is called only if a node below the future continues by
// waiting for something else.
func Goroutine() (n uint64) {
	var buf [64]byte
	const prefix = len("goroutine ")
	for _, b := range buf[prefix:runtime.Stack(buf[:], false)] {
		if b < '0' || b > '9' {
			break
		}
		n = n*10 + uint64(b-'0')
	}
	return n
}
