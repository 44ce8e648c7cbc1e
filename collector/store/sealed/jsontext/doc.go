// Package jsontext writes attributes as JSON that any engine can query and that reads back exactly as it was.
//
// Text, booleans, arrays and maps are JSON's own; an empty value is null. What JSON has no words for:
//
//	integers         a number without point or exponent: 200
//	floating point   a number with one: 0.5, 1.0, 1e+21; {"$double":"NaN"}, "+Inf", "-Inf", "-0"
//	bytes            {"$bytes":"base64"}
//	keys with "$"    at their start get another one: {"$$price":1} is the map with the key "$price"
//
// Text that is not UTF-8 is mended with U+FFFD, as everywhere that Weft shows it.
package jsontext
