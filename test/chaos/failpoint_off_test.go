//go:build !failpoints

package chaos

func armFailpoint(serverConfig) {}
