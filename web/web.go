// Package web holds the page as it was built. Without Node.js it holds no index.html, and the server says so.
package web

import "embed"

// Files are what Vite made, below the folder dist.
//
//go:embed dist
var Files embed.FS
