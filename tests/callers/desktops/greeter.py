"""What the greeters of `make callers` have in common: they ask and say in two FIFOs."""

says = open("/run/greeter/says", "w")
answers = open("/run/greeter/answers")


def say(text):
    print(text, end="", file=says, flush=True)


def ask(prompt):
    say(prompt)
    return answers.readline().rstrip("\n")
