// Package call holds what rooms of the server need to know of one call: who makes it and from where, which templates it may
// read, how ids, times and pages of lists are read, and what an error looks like to the caller. It knows nothing of messages
// of the contract, of gRPC services and of the other rooms.
package call
