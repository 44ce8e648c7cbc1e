package weft

import (
	"context"
	"io"

	"weft/weft/story"
)

func runRequest(ctx context.Context, in *invocation) error { return askAbout(ctx, in, story.Request) }
func runWhy(ctx context.Context, in *invocation) error     { return askAbout(ctx, in, story.Why) }

func runHealth(ctx context.Context, in *invocation) error {
	in.question()
	if err := in.parse(0, 0); err != nil {
		return err
	}
	base, err := in.base(ctx)
	if err != nil {
		return err
	}
	return story.Health(ctx, in.stdout, base, in.look())
}

// askAbout tells the story of the one thing that the command names.
func askAbout(ctx context.Context, in *invocation, tell func(context.Context, io.Writer, string, string, story.Options) error) error {
	in.question()
	if err := in.parse(1, 1); err != nil {
		return err
	}
	base, err := in.base(ctx)
	if err != nil {
		return err
	}
	return tell(ctx, in.stdout, base, in.args[0], in.look())
}

// look is how the answer is shown: colours on a terminal only.
func (in *invocation) look() story.Options {
	options := story.Terminal(in.stdout)
	options.JSON = in.json
	return options
}
