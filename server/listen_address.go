package server

import (
	"fmt"
	"net"
)

// CheckAddress refuses what is no address to listen at: HOST:PORT, where an empty host is all of the machine and port 0 a free one.
func CheckAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil && port != "" {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		return fmt.Errorf("%q must be HOST:PORT, an IPv6 host in brackets, such as [::1]:8080", address)
	}
	return nil
}
