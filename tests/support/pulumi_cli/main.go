//go:build tools

// Package tools names what go.mod is kept for: the real Pulumi CLI, a judge in tests. build.sh builds it.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
