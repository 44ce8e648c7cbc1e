// Package rows says which columns a sealed file has, and reads its rows back as spans and log records.
package rows
