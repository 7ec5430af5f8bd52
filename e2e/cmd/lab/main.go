// Command lab starts the lab: a Kubernetes cluster in network namespaces.
package main

import (
	"fmt"
	"os"
)

const usage = `usage: lab demo                show the way of one Service (KEEP=1 keeps the lab up)
       lab up [flags]          start a cluster and keep it until Ctrl-C
       lab exec HOST COMMAND…  run a command on a host of the lab that is up
`

func main() {
	commands := map[string]func([]string) int{"demo": demo, "up": up, "exec": attach}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	os.Exit(commands[os.Args[1]](os.Args[2:]))
}
