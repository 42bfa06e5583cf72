// A TCP relay of the usual hand-written kind, to be measured beside Leaseway by `cargo xtask bench`:
// two goroutines a session with 2 KiB each, and a bounded channel as the pool of upstream
// connections. The client's end interrupts the other direction by a deadline; a connection that
// has failed is marked, and not pooled.
//
// It knows no protocol: a connection goes back after each session, whatever was said on it.
package main

import (
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"os"
	"time"
)

const bufferSize = 2 << 10

type upstream struct {
	conn  net.Conn
	valid bool
}

type relay struct {
	address string
	pool    chan *upstream
}

func (r *relay) borrow() (*upstream, error) {
	select {
	case idle := <-r.pool:
		return idle, nil
	default:
	}
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		return nil, err
	}
	return &upstream{conn: conn, valid: true}, nil
}

func (r *relay) giveBack(u *upstream) {
	if u.valid && u.conn.SetDeadline(time.Time{}) == nil {
		select {
		case r.pool <- u:
			return
		default:
		}
	}
	u.conn.Close()
}

// copies until one side ends; says whether the writing and the reading side are still sound.
func copyBytes(to, from net.Conn) (toSound, fromSound bool) {
	buffer := make([]byte, bufferSize)
	for {
		count, err := from.Read(buffer)
		if count > 0 {
			if _, err := to.Write(buffer[:count]); err != nil {
				return false, true
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return true, true
		}
		if err != nil {
			return true, false
		}
	}
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	u, err := r.borrow()
	if err != nil {
		log.Print(err)
		return
	}
	sound := make(chan bool, 1)
	go func() {
		toUpstream, _ := copyBytes(u.conn, client)
		// The client has ended: stop waiting for the upstream, without closing it.
		u.conn.SetReadDeadline(time.Now())
		sound <- toUpstream
	}()
	_, fromUpstream := copyBytes(client, u.conn)
	client.SetReadDeadline(time.Now())
	u.valid = <-sound && fromUpstream
	r.giveBack(u)
}

func main() {
	listen := flag.String("listen", "", "address to listen on")
	address := flag.String("upstream", "", "address to connect to")
	size := flag.Int("pool", 20, "idle connections to keep")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	r := &relay{address: *address, pool: make(chan *upstream, *size)}
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			log.Print(err)
			continue
		}
		go r.serve(client)
	}
}
