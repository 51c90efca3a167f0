package settle

import "runtime"

// Goroutine is the number of the calling goroutine. It takes a microsecond or
// more, and is for one question only, which nothing else answers: whether a
// canceler settles its future itself, or another goroutine does while the
// canceler runs. It is asked only if a node below the future goes on to wait
// for something else.
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
