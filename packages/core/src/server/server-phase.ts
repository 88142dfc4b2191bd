/**
 * Where a server is in its life, in this order:
 *
 * - `setup`: services are being added;
 * - `bootstrap`: `run()` was called; log, working directory and run-time checks;
 * - `bootstrap-complete`: services start, each when its dependencies are ready;
 * - `running`: every service is ready;
 * - `graceful-upgrade-transferring-fds`: a successor was let in and gets the listeners; back to `running` if it fails;
 * - `graceful-upgrade-close-timeout`: it has taken over; idle clients may ask once more (`upgrade_close_timeout_seconds`);
 * - `graceful-terminate`: a graceful shutdown was asked for (left out by a fast one);
 * - `shutdown-started`: services learn of it and stop taking on work;
 * - `shutdown-grace-period`: running work finishes (left out by a fast shutdown);
 * - `shutdown-runtimes`: what is left is cut, cleanups run;
 * - `terminated`: `run()` is about to settle.
 */
export type ServerPhase =
  | 'setup'
  | 'bootstrap'
  | 'bootstrap-complete'
  | 'running'
  | 'graceful-upgrade-transferring-fds'
  | 'graceful-upgrade-close-timeout'
  | 'graceful-terminate'
  | 'shutdown-started'
  | 'shutdown-grace-period'
  | 'shutdown-runtimes'
  | 'terminated'
