module github.com/twillgo/twill/jetstream/examples/page

go 1.26.0

require (
	github.com/nats-io/nats.go v1.55.0
	github.com/twillgo/twill/admin v0.1.0
	github.com/twillgo/twill/jetstream v0.1.0
)

require (
	github.com/klauspost/compress v1.20.4 // indirect
	github.com/nats-io/nkeys v0.4.17 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/twillgo/twill v0.1.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace (
	github.com/twillgo/twill => ../../../
	github.com/twillgo/twill/admin => ../../../admin
	github.com/twillgo/twill/jetstream => ../../
)
