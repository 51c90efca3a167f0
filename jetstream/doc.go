// Package jetstream shares dispatch queues, poolers, dicts and locks among
// machines, on NATS JetStream.
package jetstream
