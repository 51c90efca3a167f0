module github.com/twillgo/twill/admin

go 1.26.0

require (
	github.com/stretchr/testify v1.12.1
	github.com/twillgo/twill v0.1.0
	golang.org/x/net v0.62.0
	golang.org/x/time v0.16.0
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

replace github.com/twillgo/twill => ../
