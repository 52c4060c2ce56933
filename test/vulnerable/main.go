// Vulnerable calls what GO-2021-0113 warns of. It is never run: a vulnerability check that does not find it finds nothing.
package main

import (
	"fmt"

	"golang.org/x/text/language"
)

func main() { fmt.Println(language.Parse("en")) }
