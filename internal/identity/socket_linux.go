package identity

import "syscall"

func peerUID(fd int) (uint32, error) {
	who, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return who.Uid, nil
}
