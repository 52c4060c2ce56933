// A module with a hole that everybody knows, GO-2021-0113: the gate holds its vulnerability check against it.
module github.com/template-insights/insights/test/vulnerable

go 1.26.7

require golang.org/x/text v0.3.5
