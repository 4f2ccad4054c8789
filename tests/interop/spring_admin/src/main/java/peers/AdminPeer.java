package peers;

import de.codecentric.boot.admin.server.config.EnableAdminServer;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

@SpringBootApplication
@EnableAdminServer
public class AdminPeer {

    public static void main(String[] args) {
        SpringApplication.run(AdminPeer.class, args);
        System.out.println("PEER STARTED");
    }
}
