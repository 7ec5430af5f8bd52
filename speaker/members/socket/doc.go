// Package socket is the member port: one UDP socket and one TCP listener for all
// that speakers send each other by IP. What begins with our magic byte is a
// message of this project and goes to whoever opened the socket; everything else
// is memberlist's, which uses it as its transport.
//
// Anybody can send to the port, so what an unknown sender sends is cheap: the kernel
// itself puts what does not come from a known speaker into another queue, of
// which a bounded number is read each second and the rest lost unread. So a flood
// neither delays nor displaces what speakers say. A speaker whose address is not
// known yet gets through in that number, and is known from its first authentic
// message on.
//
// All methods may be called from any goroutine. Config's functions are called from
// the goroutines of the Socket, several at a time, and must not wait for them.
package socket
