package heap

const ChunkSize = chunkSize

// Cap returns the number of slots for which h has room.
func Cap[T Item](h *Heap[T]) (n int) {
	for _, c := range h.table {
		n += len(c.slots) * arity
	}
	return n
}
