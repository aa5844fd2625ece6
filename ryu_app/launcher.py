"""Start ryu-manager with Ryu 4.34 on a current eventlet: ``python -m ryu_app.launcher [ryu-manager arguments]``.

Ryu's ``app.wsgi`` imports ``eventlet.wsgi.ALREADY_HANDLED``, which eventlet dropped after 0.30.2, the last
release that Ryu knew. Ryu only returns it from WebSocket handlers, as the body of a response that was
written already; an empty body says the same. Where ryu-manager itself works, it needs none of this.
"""

import sys

import eventlet.wsgi


def main():
    """Run ryu-manager's main with the process's arguments."""
    if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
        eventlet.wsgi.ALREADY_HANDLED = []
    # only now: importing it loads ryu.app.wsgi
    from ryu.cmd.manager import main as ryu_main
    sys.exit(ryu_main())


if __name__ == "__main__":
    main()
