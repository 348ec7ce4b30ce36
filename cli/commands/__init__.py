"""The commands as they are typed: options in, output out. What they do is in the modules beside this folder."""
