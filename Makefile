.PHONY: help build
help:
	@echo "weft"
build:
	go build -o bin/ ./cmd/...
