package waymark;

import java.net.SocketException;
import py4j.DefaultGatewayServerListener;
import py4j.Py4JServerConnection;

/** Sends each answer at once: what is over 8 KB, as a list of valid actions is, would wait for TCP's 40 ms. */
public final class Prompt extends DefaultGatewayServerListener {
    @Override
    public void connectionStarted(Py4JServerConnection connection) {
        try {
            connection.getSocket().setTcpNoDelay(true);
        } catch (SocketException gone) {
            // Then there is nothing to be sent through it either.
        }
    }
}
